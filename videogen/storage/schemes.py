"""`open_storage`: from what people write after `--output` to the storage it names."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from videogen.errors import StorageError
from videogen.storage.base import Storage
from videogen.storage.local import LocalStorage

SCHEMES = ("a folder", "file://")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def open_storage(uri: str | Path) -> Storage:
    """The storage at `uri`: a folder (relative or absolute, `~` allowed) or `file:///folder`.

    Creates nothing; a folder appears with its first key.

    Raises:
        StorageError: the scheme is not supported, the address is no folder, or it is empty.
    """
    if isinstance(uri, Path):
        return LocalStorage(uri)
    scheme = _SCHEME.match(uri)
    if scheme is None:
        return LocalStorage(_plain(uri))
    if scheme[1].lower() == "file":
        return LocalStorage(_path_of(uri))
    raise StorageError(
        f"output: got '{uri}', expected {' or '.join(SCHEMES)}. Fix: write to a folder and copy "
        "it, or mount the object store as a folder that has hard links."
    )


def _plain(uri: str) -> str:
    if not uri or "\x00" in uri:
        raise StorageError(f"output: got {uri!r}, expected a folder. Fix: name one, such as 'out'.")
    return uri


def _path_of(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise StorageError(
            f"output: got '{uri}', expected file:///absolute/folder. Fix: use three slashes."
        )
    return _plain(unquote(parts.path))
