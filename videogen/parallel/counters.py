"""What the ranks of a mesh say to each other, counted: calls, bytes and seconds by axis."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

_MAX_PENDING = 512


@dataclass
class Traffic:
    """What one rank did in one kind of collective."""

    calls: int = 0
    bytes: int = 0
    """Sent to other ranks; what a rank keeps for itself is not counted."""
    seconds: float = 0.0
    """That computing waited; what was hidden behind computing is not counted."""

    def __iadd__(self, other: Traffic) -> Traffic:
        self.calls += other.calls
        self.bytes += other.bytes
        self.seconds += other.seconds
        return self


class Counters:
    """Adds up the traffic of one rank by (axis, operation); safe to read from another thread."""

    def __init__(self) -> None:
        self._traffic: dict[tuple[str, str], Traffic] = {}
        self._pending: list[tuple[str, str, torch.cuda.Event, torch.cuda.Event]] = []
        self._lock = threading.Lock()

    def add(self, axis: str, operation: str, num_bytes: int) -> None:
        """Count one call that sends `num_bytes` to other ranks."""
        self._add(axis, operation, Traffic(calls=1, bytes=num_bytes))

    @contextmanager
    def waiting(self, axis: str, operation: str, device: torch.device) -> Iterator[None]:
        """Count the time inside, on a GPU the time that its stream stands still."""
        if device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            yield
            end.record()
            self._defer(axis, operation, start, end)
            return
        started = time.perf_counter()
        yield
        self._add(axis, operation, Traffic(seconds=time.perf_counter() - started))

    def of(self, axis: str, operation: str | None = None) -> Traffic:
        """The traffic of an axis, or of one of its operations."""
        total = Traffic()
        for (name, kind), traffic in self._settled():
            if name == axis and operation in (None, kind):
                total += traffic
        return total

    def snapshot(self) -> dict[str, dict[str, float]]:
        """`{"seq.switch": {"calls": …, "bytes": …, "seconds": …}, …}`, ready for JSON."""
        return {
            f"{axis}.{operation}": {
                "calls": traffic.calls,
                "bytes": traffic.bytes,
                "seconds": round(traffic.seconds, 6),
            }
            for (axis, operation), traffic in sorted(self._settled())
        }

    def reset(self) -> None:
        """Start again from nothing."""
        with self._lock:
            self._traffic.clear()
            self._pending.clear()

    def _add(self, axis: str, operation: str, traffic: Traffic) -> None:
        with self._lock:
            entry = self._traffic.setdefault((axis, operation), Traffic())
            entry += traffic

    def _defer(
        self, axis: str, operation: str, start: torch.cuda.Event, end: torch.cuda.Event
    ) -> None:
        with self._lock:
            self._pending.append((axis, operation, start, end))
            is_full = len(self._pending) > _MAX_PENDING
        if is_full:
            self._settle(wait=False)

    def _settle(self, wait: bool) -> None:
        """Turn the GPU's events into seconds, those that have passed or, waiting, all."""
        with self._lock:
            pending, self._pending = self._pending, []
        for axis, operation, start, end in pending:
            if wait:
                end.synchronize()
            if end.query():
                seconds = start.elapsed_time(end) / 1000
                self._add(axis, operation, Traffic(seconds=seconds))
            else:
                self._defer_again(axis, operation, start, end)

    def _defer_again(
        self, axis: str, operation: str, start: torch.cuda.Event, end: torch.cuda.Event
    ) -> None:
        with self._lock:
            self._pending.append((axis, operation, start, end))

    def _settled(self) -> list[tuple[tuple[str, str], Traffic]]:
        self._settle(wait=True)
        with self._lock:
            return [(key, Traffic(t.calls, t.bytes, t.seconds)) for key, t in self._traffic.items()]
