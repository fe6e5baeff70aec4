"""Where clips are encoded before they are committed: a folder that is gone after the run."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import threading
import time
from pathlib import Path
from typing import IO

from videogen.storage import LocalStorage, Storage
from videogen.storage.failures import storage_errors
from videogen.storage.temporary import own_folder, remove_abandoned_work, remove_root, user_root

SCRATCH = ".scratch"
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
        if run not in _own:
            _own[run] = own_folder(run)
        return _own[run][0]


def clean_scratch(storage: Storage, wait_s: float = 3.0) -> None:
    """Remove what ranks left there; call it under the lock of the output, with no rank alive.

    What coordinators that were killed on this machine left in temporary folders goes as well.

    Args:
        wait_s: for ranks on this machine that are just about to die.
    """
    with storage_errors("cleaning", user_root()):
        remove_abandoned_work()
    if isinstance(storage, LocalStorage):
        shutil.rmtree(storage.root / SCRATCH, ignore_errors=True)
        return
    run = _folder_of_run(storage)
    deadline = time.monotonic() + wait_s
    with storage_errors("cleaning", run):
        while run.is_dir() and not remove_root(run) and time.monotonic() < deadline:
            time.sleep(0.1)


def _folder_of_run(storage: Storage) -> Path:
    return user_root() / hashlib.blake2b(storage.uri.encode(), digest_size=8).hexdigest()
