"""Folders of this machine's cache that are fetched: there whole, or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from videogen.models.digests import cache_folder
from videogen.storage.failures import storage_errors


def cached_models() -> Path:
    """Where fetched models are kept, each in a folder named by what it holds."""
    return cache_folder() / "models"


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `folder` at the end; nothing stays if the block fails.

    Whoever fills it holds a lock, because there is one such folder for all.

    Raises:
        StorageError: the disk refuses.
    """
    temporary = folder.with_name(f"{folder.name}.part")
    with storage_errors("fetching a model into", folder):
        shutil.rmtree(temporary, ignore_errors=True)  # of a process that died on the way
        temporary.mkdir(parents=True)
        try:
            yield temporary
            shutil.rmtree(folder, ignore_errors=True)  # what somebody removed files from
            temporary.rename(folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
