"""Storage: create-only writes to local folders and object stores."""

from __future__ import annotations

from videogen.storage.base import (
    Lock,
    LockLostError,
    MissingKeyError,
    Storage,
    check_key,
    local_copy,
)
from videogen.storage.counters import StorageCounters
from videogen.storage.local import LocalStorage
from videogen.storage.schemes import is_remote, open_parent, open_storage

__all__ = [
    "LocalStorage",
    "Lock",
    "LockLostError",
    "MissingKeyError",
    "Storage",
    "StorageCounters",
    "check_key",
    "is_remote",
    "local_copy",
    "open_parent",
    "open_storage",
]
