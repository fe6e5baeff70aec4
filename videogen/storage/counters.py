"""What a storage was told and did, counted for metrics."""

from __future__ import annotations

import threading

COUNTED_REPLIES = (409, 412, 503)


class StorageCounters:
    """Counts of one storage in this process; a pickled copy starts from zero."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = {**dict.fromkeys(map(str, COUNTED_REPLIES), 0), "retries": 0}
        self._counts["bytes_written"] = 0

    def __reduce__(self) -> tuple[type[StorageCounters], tuple[()]]:
        return type(self), ()

    def add(self, name: str, amount: int = 1) -> None:
        """Count `amount` more of `name`, one of the keys of `snapshot`."""
        with self._lock:
            self._counts[name] += amount

    def snapshot(self) -> dict[str, int]:
        """Replies by status ("409", "412", "503"), "retries" of any cause, "bytes_written"."""
        with self._lock:
            return dict(self._counts)
