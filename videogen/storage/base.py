"""`Storage`, what every place that holds clips can do, and the rule for the keys in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from videogen.errors import StorageError
from videogen.storage.counters import StorageCounters
from videogen.storage.temporary import temporary_folder

MAX_KEY_BYTES = 1024  # of S3
MAX_PART_BYTES = 255  # of ext4, xfs, APFS


class MissingKeyError(StorageError):
    """Nothing is stored under that key."""


class LockLostError(StorageError):
    """This process no longer holds the lock it writes under; somebody else may."""


class Lock(Protocol):
    """A lock that is held; whoever works long under it asks now and then whether it still is."""

    @property
    def owner(self) -> str:
        """Who holds it, as others read in their error message."""
        ...

    def check(self) -> None:
        """Return while the lock is held.

        Raises:
            LockLostError: it is lost, for good. It is raised before anybody else can take it.
        """
        ...


class Storage(Protocol):
    """A flat space of keys such as `clips/ab/x.mp4`, on a disk or in an object store.

    A key appears whole or not at all. Every method raises `StorageError` when the place itself
    fails (full, read-only, forbidden, unreachable), with the place and a remedy in the message.
    """

    @property
    def uri(self) -> str:
        """Where this is, as given to `open_storage`."""
        ...

    @property
    def counters(self) -> StorageCounters:
        """What this storage was told and did, in this process."""
        ...

    @property
    def conditional_writes(self) -> bool:
        """Whether the place itself enforces `create`. Asking may cost a few requests, once.

        Where False, two that race for a key may both get True: let one process alone write what
        has to be unique.
        """
        ...

    def create(
        self, key: str, data: bytes | Path, metadata: Mapping[str, str] | None = None
    ) -> bool:
        """Store `data` under `key` unless something is there; never overwrites.

        Args:
            key: see `check_key`.
            data: the bytes, or a file that holds them and stays the caller's.
            metadata: small strings kept beside the object where the storage can (object stores).

        Returns:
            True if this call stored the data, False if the key existed. Of any number of callers
            that race, exactly one gets True (but see `conditional_writes`).
        """
        ...

    def put(self, key: str, data: bytes | Path) -> None:
        """Store `data` under `key`, replacing what is there in one step. For derived files only."""
        ...

    def read(self, key: str) -> bytes:
        """Everything stored under `key`.

        Raises:
            MissingKeyError: nothing is.
        """
        ...

    def download(self, key: str, path: Path) -> None:
        """Write everything stored under `key` into the file `path`, in constant memory.

        Raises:
            MissingKeyError: nothing is stored under `key`; there is no file then.
        """
        ...

    def metadata(self, key: str) -> dict[str, str]:
        """What `create` was told about `key`; {} where the storage keeps no metadata.

        Raises:
            MissingKeyError: nothing is stored under `key`.
        """
        ...

    def exists(self, key: str) -> bool: ...

    def size(self, key: str) -> int:
        """Bytes stored under `key`.

        Raises:
            MissingKeyError: nothing is.
        """
        ...

    def revision(self, key: str) -> str:
        """What tells one content of `key` from another without reading it: size and time, or ETag.

        Raises:
            MissingKeyError: nothing is stored under `key`.
        """
        ...

    def list(self, prefix: str = "") -> Iterator[str]:
        """Every key that starts with `prefix`, a plain string as in S3 (end folders with `/`)."""
        ...

    def delete(self, key: str) -> None:
        """Remove `key`; nothing happens if it is absent."""
        ...

    def open_local(self, key: str) -> Path | None:
        """The file that holds `key`, for reading only; None if it is not on this machine's disks.

        Raises:
            MissingKeyError: nothing is stored under `key` on this machine's disks.
        """
        ...

    def lock(self, name: str = ".lock", *, wait: bool = True) -> AbstractContextManager[Lock]:
        """Hold this storage for one writer while the context lasts; the holder's death frees it.

        Args:
            wait: where the place cannot tell the dead, watch a holder until it shows that it lives
                or is silent for too long; False refuses at once.

        Raises:
            StorageError: somebody else holds it.
        """
        ...

    def clean_temporary(self, older_than_s: float = 3600.0) -> int:
        """Remove what interrupted writes left behind; returns how many."""
        ...


def check_key(key: str) -> str:
    """Return `key` if it names one place inside the storage, on every kind of storage.

    Raises:
        StorageError: it is empty, absolute, too long, holds `..`, an empty part, a part that starts
            with a dot (kept for locks and temporary files), a backslash or a control character.
    """
    problem = _key_problem(key)
    if problem:
        raise StorageError(
            f"key: got {_shortened(key)}, which {problem}, expected a relative path such as "
            "'clips/ab/name.mp4'. Fix: use letters, digits, '.', '_', '-' between single slashes."
        )
    return key


def check_prefix(prefix: str) -> str:
    """Return `prefix` if it can start a key; "" starts all of them.

    Raises:
        StorageError: it cannot; see `check_key`.
    """
    if prefix:
        check_key(prefix + "x" if prefix.endswith("/") else prefix)
    return prefix


def _key_problem(key: str) -> str | None:
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        return "is no valid Unicode"
    parts = encoded.split(b"/")
    if len(encoded) > MAX_KEY_BYTES or max(map(len, parts)) > MAX_PART_BYTES:
        return f"is longer than {MAX_KEY_BYTES} bytes, or {MAX_PART_BYTES} in one part"
    if b"" in parts:
        return "is empty, absolute or has an empty part"
    if any(part.startswith(b".") for part in parts):
        return "has a part that starts with a dot"
    if "\\" in key or any(ord(char) < 0x20 or ord(char) == 0x7F for char in key):
        return "holds a backslash or a control character"
    return None


def _shortened(key: str, limit: int = 120) -> str:
    return repr(key) if len(key) <= limit else f"{key[:limit]!r}… ({len(key)} characters)"


@contextmanager
def local_copy(storage: Storage, key: str) -> Iterator[Path]:
    """The file that holds `key`: the stored one, or a download that goes away afterwards.

    Raises:
        MissingKeyError: nothing is stored under `key`.
    """
    path = storage.open_local(key)
    if path is not None:
        yield path
        return
    with temporary_folder() as folder:
        download = folder / key.rpartition("/")[2]
        storage.download(key, download)
        yield download
