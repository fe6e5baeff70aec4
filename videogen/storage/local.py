"""Create-only storage in a folder: a temporary file, made durable, then linked to its name."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from videogen.errors import StorageError
from videogen.storage.base import Lock, MissingKeyError, check_key, check_prefix
from videogen.storage.counters import StorageCounters
from videogen.storage.failures import storage_errors
from videogen.storage.lock import file_lock

TEMPORARY_PREFIX = ".tmp-"
_CANNOT_SYNC_FOLDERS = (errno.EINVAL, errno.ENOTSUP)


class LocalStorage:
    """A folder on a disk or a network file system that has hard links.

    `os.link` refuses to replace a name, so of any number of writers exactly one wins; file and
    folder are flushed to the disk before a call returns. Metadata is not kept here: a clip's
    sidecar holds it.
    """

    def __init__(self, root: str | Path) -> None:
        """Use the folder `root`, which the first write creates.

        Raises:
            StorageError: `root` is a file.
        """
        self.root = Path(root).expanduser().absolute()
        if self.root.exists() and not self.root.is_dir():
            raise StorageError(
                f"output: got {self.root}, which is a file, expected a folder. Fix: choose a "
                "folder, or remove the file."
            )
        self.counters = StorageCounters()

    @property
    def uri(self) -> str:
        return str(self.root)

    @property
    def conditional_writes(self) -> bool:
        return True

    def create(
        self, key: str, data: bytes | Path, metadata: Mapping[str, str] | None = None
    ) -> bool:
        """See `Storage.create`; `metadata` is not kept."""
        final = self._path(key)
        with storage_errors("creating", final):
            make_folders(final.parent)
            created = _create(final, data)
            # Also when another writer won: what follows builds on its file being durable.
            sync_folder(final.parent)
            if created:
                self._count(data)
            return created

    def put(self, key: str, data: bytes | Path) -> None:
        final = self._path(key)
        with storage_errors("writing", final):
            make_folders(final.parent)
            temporary = _write_temporary(final.parent, data)
            try:
                temporary.replace(final)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
            sync_folder(final.parent)
            self._count(data)

    def read(self, key: str) -> bytes:
        path = self._path(key)
        with storage_errors("reading", path):
            return path.read_bytes()

    def download(self, key: str, path: Path) -> None:
        stored = self._path(key)
        with storage_errors("copying", stored):
            shutil.copyfile(stored, path)

    def metadata(self, key: str) -> dict[str, str]:
        self.size(key)
        return {}

    def exists(self, key: str) -> bool:
        path = self._path(key)
        with storage_errors("looking for", path):
            return path.is_file()

    def size(self, key: str) -> int:
        path = self._path(key)
        with storage_errors("looking for", path):
            return path.stat().st_size

    def revision(self, key: str) -> str:
        path = self._path(key)
        with storage_errors("looking for", path):
            found = path.stat()
        return f"{found.st_size}/{found.st_mtime_ns}"

    def list(self, prefix: str = "") -> Iterator[str]:
        """Every key that starts with `prefix`; the keys of one folder come sorted."""
        folder, _, start = check_prefix(prefix).rpartition("/")
        yield from self._walk(self.root / folder, f"{folder}/" if folder else "", start)

    def delete(self, key: str) -> None:
        path = self._path(key)
        with storage_errors("deleting", path):
            path.unlink(missing_ok=True)

    def open_local(self, key: str) -> Path | None:
        self.size(key)
        return self._path(key)

    def lock(self, name: str = ".lock", *, wait: bool = True) -> AbstractContextManager[Lock]:
        """See `Storage.lock`; the kernel knows who lives, so there is nothing to wait for."""
        return file_lock(self.root / name)

    def clean_temporary(self, older_than_s: float = 3600.0) -> int:
        """Remove temporary files last written over `older_than_s` seconds ago; returns how many."""
        limit = time.time() - older_than_s
        stale = [
            Path(folder, name)
            for folder, _, names in os.walk(self.root)
            for name in names
            if name.startswith(TEMPORARY_PREFIX)
        ]
        return sum(_unlink_if_older(path, limit) for path in stale)

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _count(self, data: bytes | Path) -> None:
        size = data.stat().st_size if isinstance(data, Path) else len(data)
        self.counters.add("bytes_written", size)

    def _walk(self, folder: Path, before: str, start: str = "") -> Iterator[str]:
        with storage_errors("listing", folder):
            try:
                with os.scandir(folder) as found:
                    entries = [(e.name, _is_folder(e)) for e in found if e.name.startswith(start)]
            except (FileNotFoundError, NotADirectoryError):
                return  # nothing is stored under that prefix
        for name, is_folder in sorted(entries):
            if name.startswith("."):
                continue
            if is_folder:
                yield from self._walk(folder / name, f"{before}{name}/")
            else:
                yield before + name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether keys are listed below it; a link to a folder that it lies in would never end."""
    if not entry.is_symlink():
        return entry.is_dir()
    path = Path(entry.path)
    if not path.is_dir():  # also of a link to itself
        return False
    return not any(path.samefile(above) for above in path.parents)


def _create(final: Path, data: bytes | Path) -> bool:
    if final.exists():
        return False
    temporary = _write_temporary(final.parent, data)
    try:
        return _link(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


def _link(temporary: Path, final: Path) -> bool:
    """Give `temporary` the name `final` as well; False if that name is taken."""
    try:
        final.hardlink_to(temporary)
    except FileExistsError:
        # NFS repeats a request whose answer was lost and then finds the link it made itself.
        return final.samefile(temporary)
    return True


def _write_temporary(folder: Path, data: bytes | Path) -> Path:
    path = folder / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(8)}"
    try:
        with path.open("xb") as file:
            if isinstance(data, Path):
                with data.open("rb") as source:
                    shutil.copyfileobj(source, file, 1 << 20)
            else:
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return path


def make_folders(folder: Path) -> None:
    """Create `folder` and what is missing above it, each flushed to the disk in its parent."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Flush the names in `folder` to the disk, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC_FOLDERS:  # some FUSE and SMB mounts
            raise
    finally:
        os.close(descriptor)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _unlink_if_older(path: Path, limit: float) -> bool:
    with suppress(MissingKeyError), storage_errors("cleaning", path):
        if path.stat().st_mtime < limit:
            path.unlink()
            return True
    return False
