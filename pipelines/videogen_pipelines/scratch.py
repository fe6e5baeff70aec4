"""Where clips are encoded before they are committed: a folder that is gone after the run."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path

from videogen.storage import LocalStorage, Storage

SCRATCH = ".scratch"


def scratch_folder(storage: Storage) -> Path:
    """This process's own folder: inside a local output, else in the system's temporary one."""
    if isinstance(storage, LocalStorage):
        folder = storage.root / SCRATCH / f"{socket.gethostname()}-{os.getpid()}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    return Path(tempfile.mkdtemp(prefix="videogen-"))


def clean_scratch(storage: Storage) -> None:
    """Remove what ranks left there; call it under the lock of the output, with no rank alive."""
    if isinstance(storage, LocalStorage):
        shutil.rmtree(storage.root / SCRATCH, ignore_errors=True)
