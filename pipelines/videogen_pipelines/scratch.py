"""Where clips are encoded before they are committed: a folder that is gone after the run."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from videogen.errors import StorageError
from videogen.storage import LocalStorage, Storage
from videogen.storage.failures import storage_errors

SCRATCH = ".scratch"
_LOCK = ".lock"
_own: dict[Path, tuple[Path, IO[bytes]]] = {}  # folder of the run -> ours in it, locked
_guard = threading.Lock()


def scratch_folder(storage: Storage) -> Path:
    """This process's own folder: inside a local output, else in the system's temporary one.

    Raises:
        StorageError: the folder cannot be made.
    """
    if isinstance(storage, LocalStorage):
        folder = storage.root / SCRATCH / f"{socket.gethostname()}-{os.getpid()}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    run = _folder_of_run(storage)
    with _guard, storage_errors("making", run):
        while run not in _own:
            with suppress(FileNotFoundError):  # somebody tidies at this moment
                _make_root(run.parent)
                run.mkdir(exist_ok=True)
                with _locked(run) as is_there:
                    if is_there:
                        _remove_abandoned(run)
                        _own[run] = _make_folder(run)
        return _own[run][0]


def clean_scratch(storage: Storage, wait_s: float = 3.0) -> None:
    """Remove what ranks left there; call it under the lock of the output, with no rank alive.

    Args:
        wait_s: for ranks on this machine that are just about to die.
    """
    if isinstance(storage, LocalStorage):
        shutil.rmtree(storage.root / SCRATCH, ignore_errors=True)
        return
    run = _folder_of_run(storage)
    deadline = time.monotonic() + wait_s
    while run.is_dir() and not _remove_run(run) and time.monotonic() < deadline:
        time.sleep(0.1)


def _folder_of_run(storage: Storage) -> Path:
    root = Path(tempfile.gettempdir()) / f"videogen-{os.getuid()}"
    return root / hashlib.blake2b(storage.uri.encode(), digest_size=8).hexdigest()


def _make_root(root: Path) -> None:
    """Make the folder of all runs of this user, which only this user may look into."""
    root.mkdir(mode=0o700, exist_ok=True)
    if root.stat().st_uid != os.getuid():
        raise StorageError(
            f"{root}: got a folder of another user, expected one of ours. Fix: remove it, or set "
            "TMPDIR to a folder of your own."
        )


def _make_folder(run: Path) -> tuple[Path, IO[bytes]]:
    folder = run / f"{os.getpid()}-{secrets.token_hex(4)}"
    folder.mkdir()
    # Held until this process ends, however it ends: so others know that it lives.
    lock = (folder / _LOCK).open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return folder, lock


def _remove_run(run: Path) -> bool:
    """Remove the folder of a run; False if somebody alive still uses it."""
    with storage_errors("cleaning", run), _locked(run) as is_there:
        if is_there and not _remove_abandoned(run):
            return False
        if is_there:
            shutil.rmtree(run, ignore_errors=True)
    with suppress(OSError):  # other runs have folders there
        run.parent.rmdir()
    return True


def _remove_abandoned(run: Path) -> bool:
    """Remove the folders of processes that are dead; True if there is no other."""
    living = 0
    for folder in run.iterdir():
        if folder.is_dir():
            with (folder / _LOCK).open("ab") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    living += 1
                    continue
            shutil.rmtree(folder, ignore_errors=True)
    return living == 0


@contextmanager
def _locked(run: Path) -> Iterator[bool]:
    """Keep others from making or removing folders in `run`; False if it was removed before."""
    try:
        lock = (run / _LOCK).open("ab")
    except FileNotFoundError:
        yield False
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield _is_same_file(run / _LOCK, lock)


def _is_same_file(path: Path, file: IO[bytes]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
