"""How much memory a piece of work takes at its peak, on top of what is there before."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

_M_MMAP_THRESHOLD = -3


def peak_bytes(work: Callable[[], object]) -> int:
    """Resident memory that `work` adds at its peak; Linux only."""
    # Otherwise the allocator keeps what is freed, and the peak says when it was asked for.
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 16)
    Path("/proc/self/clear_refs").write_text("5")  # starts VmHWM again
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)
