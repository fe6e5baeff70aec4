"""One writer per folder: a POSIX record lock, which the kernel frees when its process dies.

`lockf` rather than `flock`: forked children do not inherit it, so a killed coordinator frees its
folder although its children still run, and NFS honours it between machines.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from videogen.errors import StorageError
from videogen.storage.base import LockLostError
from videogen.storage.failures import storage_errors

# lockf never refuses its own process, and closing *any* descriptor of the file drops the lock.
_held: set[Path] = set()
_guard = threading.Lock()


class FileLock:
    """A lock file that this process holds."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self._path = path
        self._file = file
        self.owner = _this_process()

    def check(self) -> None:
        """Return while the file that is locked is the one that others would lock.

        Raises:
            LockLostError: it was removed or replaced.
        """
        with suppress(OSError, ValueError):
            if os.path.samestat(self._path.stat(), os.fstat(self._file.fileno())):
                return
        raise LockLostError(
            f"{self._path}: got a lock file that was removed or replaced, expected the one that "
            f"{self.owner} holds. Fix: leave the output alone during a run, and run again."
        )


@contextmanager
def file_lock(path: Path) -> Iterator[FileLock]:
    """Hold `path` exclusively while the context lasts; the file stays afterwards.

    Raises:
        StorageError: another process, or another part of this one, holds it.
    """
    path = path.absolute()
    with _guard:
        if path in _held:
            raise _is_held(path, f"this process ({os.getpid()})")
        file = _acquire(path)
        _held.add(path)
    try:
        yield FileLock(path, file)
    finally:
        with _guard:
            _held.discard(path)
            file.close()


def _acquire(path: Path) -> IO[str]:
    with storage_errors("locking", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = _owner(file)
            file.close()
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise _is_held(path, owner) from error
            raise
        file.seek(0)
        file.truncate()
        file.write(_this_process() + "\n")
        file.flush()
        return file


def _this_process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _owner(file: IO[str]) -> str:
    file.seek(0)
    return file.readline().strip() or "another process"


def _is_held(path: Path, owner: str) -> StorageError:
    return StorageError(
        f"output {path.parent}: got a folder that {owner} is writing to, expected a free one. "
        "Fix: wait for that run, stop it, or choose another output."
    )


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold `path` exclusively while the context lasts; others on this machine wait their turn.

    Raises:
        StorageError: the file cannot be made or locked.
    """
    with storage_errors("locking", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    with file:
        with storage_errors("locking", path):
            fcntl.flock(file, fcntl.LOCK_EX)  # unlike lockf also between threads
        yield
