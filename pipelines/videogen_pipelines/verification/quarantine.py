"""Moves files that are not as they must be under `quarantine/`, where nothing reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

from videogen.storage import MissingKeyError, Storage, local_copy
from videogen_pipelines.commit import sha256_of
from videogen_pipelines.keys import QUARANTINE_PREFIX


def set_aside(storage: Storage, key: str, fence: Callable[[], None]) -> str | None:
    """Move the file at `key`; returns its new key, or None if there is none (any more).

    The copy is whole before the original goes; its name tells its content.

    Raises:
        StorageError: the storage failed.
    """
    try:
        with local_copy(storage, key) as path:
            name = PurePosixPath(key)
            moved = name.with_name(f"{name.stem}.{sha256_of(path)[:12]}{name.suffix}")
            aside = f"{QUARANTINE_PREFIX}{moved}"
            fence()
            storage.create(aside, path)
    except MissingKeyError:
        return None
    storage.delete(key)
    return aside
