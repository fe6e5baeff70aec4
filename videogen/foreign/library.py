"""The one module that imports diffusers: classes by name, and pipelines from local folders."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from videogen.errors import ConfigError, MissingDependencyError, WeightsError
from videogen.foreign.address import INDEX
from videogen.foreign.reports import INVENTED, kept_reports
from videogen.models.pretrained import import_transformers, quiet

if TYPE_CHECKING:
    import torch

    from videogen.foreign.folder import PipelineFolder


def import_diffusers() -> Any:
    """The package, imported where it is used.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import diffusers
    except ImportError as error:
        raise MissingDependencyError(
            f"model: got a pipeline of diffusers, which cannot be imported ({error}), expected it "
            "to be installed. Fix: pip install 'diffusers>=0.36,<1' accelerate beautifulsoup4."
        ) from error
    return diffusers


def diffusers_version() -> str:
    """The version that is installed; see `import_diffusers`."""
    return import_diffusers().__version__


def pipeline_class(folder: PipelineFolder) -> Any:
    """The class of diffusers that runs a folder, all of whose parts have known classes.

    Raises:
        ConfigError: there is no such class, a part's is from elsewhere, or it fetches others.
        MissingDependencyError: diffusers is not installed.
    """
    diffusers = import_diffusers()
    with kept_reports():  # what it imports with the class warns of packages that nobody needs
        found = getattr(diffusers, folder.pipeline, None)
    is_pipeline = isinstance(found, type) and issubclass(found, diffusers.DiffusionPipeline)
    if not is_pipeline or getattr(found, "_load_connected_pipes", False):
        known = [name for name in dir(diffusers) if name.endswith("Pipeline")]
        close = difflib.get_close_matches(folder.pipeline, known, n=1)
        hint = f"Did you mean '{close[0]}'? " if close and not is_pipeline else ""
        raise ConfigError(
            f"{folder.path / INDEX}: _class_name: got '{folder.pipeline}', expected a pipeline of "
            f"diffusers {diffusers.__version__} that needs no other one. {hint}"
            "Fix: install the diffusers that has it, or name the folders of its stages."
        )
    for name, part in folder.components.items():
        if part.library not in ("diffusers", "transformers") and not hasattr(
            diffusers.pipelines, part.library
        ):
            raise ConfigError(
                f"{folder.path / INDEX}: {name}: got a class of '{part.library}', expected one of "
                "diffusers or transformers, because no other code is run. Fix: use the folder of "
                "such a pipeline."
            )
    return found


def load_pipeline(folder: PipelineFolder, dtype: torch.dtype, given: Mapping[str, Any]) -> Any:
    """The pipeline of a folder on the CPU: safetensors only, no hub, no code of a folder.

    Args:
        given: parts that are there already, by name.

    Raises:
        WeightsError: a file is damaged or does not fit its configuration.
        ConfigError, MissingDependencyError: see `pipeline_class`.
    """
    kind = pipeline_class(folder)
    try:
        with _quiet() as messages:
            pipeline = kind.from_pretrained(
                str(folder.path),
                torch_dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                variant=folder.variant,
                **given,
            )
    except Exception as error:  # whatever a damaged file makes a reader raise
        raise WeightsError(
            f"{folder.path}: {folder.pipeline} cannot be loaded: {type(error).__name__}: {error}. "
            "Fix: copy or download the whole folder, or install what the message names."
        ) from error
    invented = [message for message in messages if INVENTED in message]
    if invented:
        raise WeightsError(
            f"{folder.path}: got files without weights that their configuration asks for: "
            f"{invented[0].strip()}. Fix: use the weights and the configuration of one model."
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@contextmanager
def _quiet() -> Iterator[list[str]]:
    """No progress bars while loading; yields the warnings, which are not printed."""
    logging = import_diffusers().utils.logging
    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with (
            quiet(import_transformers()),
            warnings.catch_warnings(),
            kept_reports() as messages,
        ):
            # The argument is called so in all versions that are understood.
            warnings.filterwarnings("ignore", message=".*torch_dtype.*")
            yield messages
    finally:
        if was_on:
            logging.enable_progress_bar()
