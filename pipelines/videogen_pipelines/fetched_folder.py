"""Folders of this machine's cache that are fetched: there whole, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from videogen.errors import StorageError, WeightsError
from videogen.models.digests import cache_folder
from videogen.storage.failures import storage_errors


class ModelChangedError(StorageError):
    """What lies in the store is no more what was to be fetched."""


def cached_models() -> Path:
    """Where fetched models are kept, each in a folder named by what it holds."""
    return cache_folder() / "models"


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `folder` at the end.

    It holds what those left who were killed or cut off on the way, so that every try gets further,
    however short its time; nothing stays of a model that is not the one described. Whoever fills
    it holds a lock, because there is one such folder for all.

    Raises:
        StorageError: the disk refuses.
    """
    temporary = folder.with_name(f"{folder.name}.part")
    with storage_errors("fetching a model into", folder):
        temporary.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            shutil.rmtree(folder, ignore_errors=True)  # what somebody removed files from
            temporary.rename(folder)
        except (WeightsError, ModelChangedError):
            shutil.rmtree(temporary, ignore_errors=True)
            raise


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write what becomes `path` at the end, so that half a file never has its name.

    What follows the writing in the block, such as a look at a checksum, has a say in it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.part")
    yield temporary
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
