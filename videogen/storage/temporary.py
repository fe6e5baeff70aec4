"""Temporary folders that do not outlive their process for long, even one that is killed.

A folder stands in a root that the processes of one purpose share. Its process holds a lock on it,
which the kernel lets go when the process ends, however it ends; whoever uses the root next removes
the folders that nobody holds.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from videogen.errors import StorageError

_LOCK = ".lock"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder of this process alone, which goes away afterwards.

    Raises:
        StorageError: the folder of this user in the system's temporary one is somebody else's.
        OSError: it cannot be made.
    """
    root = user_root() / "work"
    folder, lock = own_folder(root)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()
        remove_root(root)


def remove_abandoned_work() -> None:
    """Remove the folders of `temporary_folder` whose processes are dead."""
    root = user_root() / "work"
    if root.is_dir():
        remove_root(root)


def user_root() -> Path:
    """Where all temporary folders of this user are; it need not exist."""
    return Path(tempfile.gettempdir()) / f"videogen-{os.getuid()}"


def own_folder(root: Path) -> tuple[Path, IO[bytes]]:
    """A new folder in `root`, and the lock that keeps it while this process lives.

    Raises:
        StorageError: the folder of this user is somebody else's.
        OSError: it cannot be made.
    """
    while True:
        with suppress(FileNotFoundError):  # somebody tidies at this moment
            _make_user_root(root.parent)
            root.mkdir(exist_ok=True)
            with _locked(root) as is_there:
                if is_there:
                    _remove_abandoned(root)
                    return _make_folder(root)


def remove_root(root: Path) -> bool:
    """Remove `root` with the folders of the dead; False if somebody alive still uses it."""
    with _locked(root) as is_there:
        if is_there and not _remove_abandoned(root):
            return False
        if is_there:
            shutil.rmtree(root, ignore_errors=True)
    with suppress(OSError):  # others have folders there
        root.parent.rmdir()
    return True


def _make_user_root(root: Path) -> None:
    """Make the folder of this user, which only this user may look into."""
    root.mkdir(mode=0o700, exist_ok=True)
    if root.stat().st_uid != os.getuid():
        raise StorageError(
            f"{root}: got a folder of another user, expected one of ours. Fix: remove it, or set "
            "TMPDIR to a folder of your own."
        )


def _make_folder(root: Path) -> tuple[Path, IO[bytes]]:
    folder = root / f"{os.getpid()}-{secrets.token_hex(4)}"
    folder.mkdir()
    lock = (folder / _LOCK).open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return folder, lock


def _remove_abandoned(root: Path) -> bool:
    """Remove the folders of processes that are dead; True if there is no other."""
    living = 0
    for folder in root.iterdir():
        if not folder.is_dir():
            continue
        with suppress(FileNotFoundError), (folder / _LOCK).open("ab") as lock:  # just removed
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                living += 1
                continue
        shutil.rmtree(folder, ignore_errors=True)
    return living == 0


@contextmanager
def _locked(root: Path) -> Iterator[bool]:
    """Keep others from making or removing folders in `root`; False if it was removed before."""
    try:
        lock = (root / _LOCK).open("ab")
    except FileNotFoundError:
        yield False
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield _is_same_file(root / _LOCK, lock)


def _is_same_file(path: Path, file: IO[bytes]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
