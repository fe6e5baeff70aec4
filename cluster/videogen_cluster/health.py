"""Who has said how long ago that it is alive. Ray notices a dead rank, never a hung one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Activity:
    """What a rank is doing with one item, and for how long it has said nothing new."""

    item_id: str
    stage: str
    step: int
    total: int
    silent_s: float


class ActivityLog:
    """The rank's side: notes every heartbeat of the items in its hands. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[str, tuple[str, int, int, float]] = {}

    def note(self, item_id: str, stage: str, step: int, total: int) -> None:
        with self._lock:
            self._entries[item_id] = (stage, step, total, self._clock())

    def end(self, item_id: str) -> None:
        with self._lock:
            self._entries.pop(item_id, None)

    def snapshot(self) -> tuple[Activity, ...]:
        """What is going on now, oldest item first."""
        with self._lock:
            now = self._clock()
            return tuple(
                Activity(item_id, stage, step, total, now - at)
                for item_id, (stage, step, total, at) in self._entries.items()
            )


class Pulse:
    """The supervisor's side: how long one gang has been silent.

    A rank that does not answer is silent since its last answer (a stopped process), one that
    answers is silent as long as the item it has said nothing about for longest (a stuck kernel,
    a stalled upload).
    """

    def __init__(self, now: float) -> None:
        self.activities: tuple[Activity, ...] = ()
        self._heard_at = now

    def hear(self, activities: tuple[Activity, ...], now: float) -> None:
        self.activities = activities
        self._heard_at = now

    def silent_s(self, now: float) -> float:
        longest = max((activity.silent_s for activity in self.activities), default=0.0)
        return now - self._heard_at + longest
