"""`open_storage`: from what people write after `--output` to the storage it names."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from videogen.errors import StorageError
from videogen.storage.base import Storage, check_key
from videogen.storage.local import LocalStorage

SCHEMES = ("a folder", "file://", "s3://")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def open_storage(uri: str | Path) -> Storage:
    """The storage at `uri`: a folder (relative or absolute, `~` allowed), `file:///folder`, or
    `s3://bucket/prefix`.

    Creates nothing and asks nobody; a folder appears with its first key.

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
    if scheme[1].lower() == "s3":
        from videogen.storage.s3 import S3Storage

        return S3Storage(uri)
    raise StorageError(
        f"output: got '{_without_credentials(uri)}', expected {', '.join(SCHEMES)}. Fix: write to "
        "a folder and copy it, or use the store's S3 protocol with AWS_ENDPOINT_URL."
    )


def is_remote(uri: str | Path) -> bool:
    """Whether `uri` names something in an object store rather than on this machine's disks."""
    return isinstance(uri, str) and uri.lower().startswith("s3://")


def open_parent(uri: str) -> tuple[Storage, str]:
    """The storage that holds the object `uri`, and its key there.

    Raises:
        StorageError: `uri` names no object.
    """
    parent, _, key = uri.rpartition("/")
    storage = open_storage(parent if not parent.endswith("/") else uri)
    return storage, check_key(key)


def _without_credentials(uri: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", uri.partition("?")[0])


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
