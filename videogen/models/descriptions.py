"""What folders of published models say about themselves: JSON, read strictly and without torch."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

from videogen.config import load_dataclass
from videogen.errors import ConfigError, WeightsError

T = TypeVar("T")


def read_json(path: Path) -> dict[str, Any]:
    """A file that holds one JSON mapping.

    Raises:
        WeightsError: it is missing, unreadable or holds something else.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(
            f"{path}: cannot be read ({error.strerror}), expected a model in the diffusers layout. "
            "Fix: copy or download the whole folder."
        ) from error
    except ValueError as error:
        raise WeightsError(f"{path}: not JSON: {error}. Fix: download it again.") from error
    if not isinstance(data, dict):
        raise WeightsError(f"{path}: not a JSON mapping. Fix: download it again.")
    return data


def read_config(
    cls: type[T], path: Path, class_name: str | Collection[str], ignored: Collection[str] = ()
) -> T:
    """Read the configuration of a component into a dataclass, strictly.

    Args:
        class_name: what `_class_name` has to be, or one of several.
        ignored: fields that the reference has and that change nothing here.

    Raises:
        ConfigError: another class, an unknown field, or a value that is not supported.
        WeightsError: the file cannot be read.
    """
    data = read_json(path)
    expected = [class_name] if isinstance(class_name, str) else list(class_name)
    if data.get("_class_name") not in expected:
        raise ConfigError(
            f"{path}: _class_name: got '{data.get('_class_name')}', expected "
            f"{' or '.join(expected)}. Fix: give the folder of such a model."
        )
    said = {k: v for k, v in data.items() if not k.startswith("_") and k not in ignored}
    return load_dataclass(cls, said, str(path))
