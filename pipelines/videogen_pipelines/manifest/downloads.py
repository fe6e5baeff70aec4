"""Manifests in an object store: downloaded once a process, into a file that has no name."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import IO

from videogen.storage import MissingKeyError, open_parent
from videogen_pipelines.manifest.problems import file_error

# The files are open and have no name on the disk, so that not even a kill leaves one behind.
_files: dict[str, IO[bytes]] = {}
_guard = threading.Lock()


def download(uri: str, anew: bool = False) -> Path:
    """The local copy of a manifest, for this process alone; every reader opens it for itself.

    Args:
        anew: replace a copy that was made before.

    Raises:
        ManifestError: there is no such object.
        StorageError: the object store refuses or fails.
    """
    with _guard:
        if anew and uri in _files:
            _files.pop(uri).close()
        if uri not in _files:
            _files[uri] = _fetch(uri)
        return _path(_files[uri])


def _fetch(uri: str) -> IO[bytes]:
    storage, key = open_parent(uri)
    file = tempfile.TemporaryFile(prefix="videogen-")  # noqa: SIM115 (kept open on purpose)
    try:
        storage.download(key, _path(file))
    except MissingKeyError as error:
        file.close()
        raise file_error(uri, "no such object", "a manifest", "check the address") from error
    except BaseException:
        file.close()
        raise
    return file


def _path(file: IO[bytes]) -> Path:
    return Path(f"/proc/self/fd/{file.fileno()}")
