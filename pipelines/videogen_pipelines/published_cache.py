"""Published models in an object store: fetched whole, once per machine and version.

A folder in the diffusers layout names no checksum of its weights. What the store says of each file,
its size and its ETag, tells versions apart; the sha256 of every file, which the model's digest is
made of, is taken of what was fetched.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from videogen.models.digests import MODEL_SUFFIXES
from videogen.models.published import INDEX
from videogen.models.spec import SPEC_FILE
from videogen.storage import Storage
from videogen.storage.base import MissingKeyError, check_key
from videogen.storage.lock import waiting_lock
from videogen.storage.s3 import S3Storage, Stored
from videogen_pipelines.fetched_folder import (
    ModelChangedError,
    appearing,
    cached_models,
    whole_file,
)

logger = logging.getLogger(__name__)


def is_published_at(storage: Storage) -> bool:
    """Whether a place holds a model in the diffusers layout, and none of this package."""
    return not storage.exists(SPEC_FILE) and storage.exists(INDEX)


def files_at(storage: S3Storage) -> dict[str, Stored]:
    """The files below an address that a model is made of, by their paths.

    Raises:
        StorageError: the store fails, or a key could not be a path.
    """
    found = storage.stored()
    return {
        check_key(key): stored
        for key, stored in found.items()
        if PurePosixPath(key).suffix in MODEL_SUFFIXES
    }


def published_folder(uri: str) -> Path:
    """The folder on this machine with the published model at `uri`, fetched if it is not there.

    However many ranks ask at once, one fetches and the others wait. It appears whole, below a
    folder for its version, under the name that it has in the store.

    Raises:
        StorageError: the object store refuses or fails, a file was replaced meanwhile, or this
            machine's disk refuses.
    """
    storage = S3Storage(uri)
    files = files_at(storage)
    name = check_key(storage.uri.rpartition("/")[2])
    version = cached_models() / _version(name, files)
    with waiting_lock(version.with_name(f"{version.name}.lock")):
        if not _is_whole(version / name, files):
            with appearing(version) as temporary:
                _fetch(storage, files, temporary / name)
    return version / name


def _version(name: str, files: Mapping[str, Stored]) -> str:
    text = json.dumps([name, *sorted(files.items())])
    return hashlib.sha256(text.encode()).hexdigest()


def _is_whole(folder: Path, files: Mapping[str, Stored]) -> bool:
    return all(_is_there(folder / key, stored) for key, stored in files.items())


def _is_there(path: Path, stored: Stored) -> bool:
    return path.is_file() and path.stat().st_size == stored.size


def _fetch(storage: S3Storage, files: Mapping[str, Stored], folder: Path) -> None:
    total = sum(stored.size for stored in files.values())
    logger.info("fetching %d files, %d bytes, from %s", len(files), total, storage.uri)
    for key, stored in files.items():
        if not _is_there(folder / key, stored):
            with whole_file(folder / key) as temporary:
                _fetch_file(storage, files, key, temporary)


def _fetch_file(storage: S3Storage, files: Mapping[str, Stored], key: str, path: Path) -> None:
    """Fetch one file of this version, which stays if the next ones are never fetched."""
    try:
        storage.download(key, path)
    except MissingKeyError as error:
        raise _changed(storage) from error
    if files_at(storage) != files or not _is_there(path, files[key]):
        raise _changed(storage)


def _changed(storage: S3Storage) -> ModelChangedError:
    return ModelChangedError(
        f"{storage.uri}: got files that were replaced while they were fetched, expected a model at "
        "rest. Fix: wait until it is copied there, and run again."
    )
