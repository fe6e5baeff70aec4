"""How much memory a piece of work needs beyond what its process holds already; Linux only."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _LARGE = -1, -3, 1 << 16
_RESET_PEAK = "5"


def can_measure() -> bool:
    return os.access(CLEAR, os.W_OK)


def peak_above_start(work: Callable[[], object]) -> int:
    """Bytes of resident memory that `work` needed at its fullest."""
    libc = ctypes.CDLL(None)
    # Large blocks go back to the system when they are freed: what is resident is what is in use.
    libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
    libc.mallopt(_M_TRIM_THRESHOLD, _LARGE)
    gc.collect()
    libc.malloc_trim(0)
    CLEAR.write_text(_RESET_PEAK)
    start = _resident("VmRSS")
    work()
    return _resident("VmHWM") - start


def _resident(field: str) -> int:
    lines = (line.split() for line in STATUS.read_text().splitlines())
    return 1024 * next(int(line[1]) for line in lines if line[0] == f"{field}:")
