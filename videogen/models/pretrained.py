"""Models of transformers, read from local safetensors: no hub, no pickle, nothing missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from videogen.errors import MissingDependencyError, WeightsError
from videogen.models.text_folders import Family

MAX_NAMES_SHOWN = 5


def import_transformers() -> Any:
    """The package, imported where it is used.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingDependencyError(
            f"pretrained encoder: transformers cannot be imported ({error}). "
            "Fix: pip install 'transformers>=5'."
        ) from error
    return transformers


@contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """No progress bar and no load report while reading: what matters is raised as an error."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def load_pretrained(family: Family, folder: Path, dtype: torch.dtype) -> Any:
    """The model that `family` names, read strictly from safetensors, in evaluation mode.

    Raises:
        WeightsError: it cannot be read, or lists keys missing, unexpected, of other shape.
    """
    transformers = import_transformers()
    try:
        with quiet(transformers):
            model, report = getattr(transformers, family.model).from_pretrained(
                str(folder),
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                dtype=dtype,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise WeightsError(
            f"{folder}: {family.model} cannot be read: {error}. Fix: download it again."
        ) from error
    _check_report(folder, family, report)
    return model.eval()


def _check_report(folder: Path, family: Family, report: dict[str, Any]) -> None:
    problems = {
        "missing": sorted(report["missing_keys"]),
        "unexpected": sorted(
            key for key in report["unexpected_keys"] if not key.startswith(family.other_halves)
        ),
        "misshapen": [
            f"{name} {tuple(got)}, not {tuple(expected)}"
            for name, got, expected in sorted(report["mismatched_keys"])
        ],
    }
    found = [_listed(what, names) for what, names in problems.items() if names]
    if found:
        raise WeightsError(
            f"{folder}: {family.model}: got {'; '.join(found)}. "
            "Fix: use a checkpoint of that architecture."
        )


def _listed(what: str, names: list[str]) -> str:
    more = ", …" if len(names) > MAX_NAMES_SHOWN else ""
    return f"{len(names)} {what} ({', '.join(names[:MAX_NAMES_SHOWN])}{more})"
