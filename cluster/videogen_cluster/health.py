"""Who has said how long ago that it is alive. Ray notices a dead rank, never a hung one."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

_MAX_STEPS = 1_000
MIN_HANG_S = 60.0
HANG_FACTOR = 5.0


@dataclass(frozen=True, slots=True)
class Activity:
    """What a rank is doing with one item, and for how long it has said nothing new.

    `longest_s` is the longest that it took to say something new of this item before.
    """

    item_id: str
    stage: str
    step: int
    total: int
    silent_s: float
    longest_s: float = 0.0

    @property
    def is_first_step(self) -> bool:
        """Whether what goes on is the first step of its kind, whose length nobody knows yet."""
        return self.step == 0 or self.step >= self.total


@dataclass(frozen=True, slots=True)
class Step:
    """How long an item said nothing new: one denoising step, or whatever `stage` does at once."""

    stage: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """What a rank is doing, and the steps that it has made since it was asked last."""

    activities: tuple[Activity, ...] = ()
    steps: tuple[Step, ...] = ()


class _Heartbeat(NamedTuple):
    """The last one of an item, and the longest time that one took to come."""

    stage: str
    step: int
    total: int
    at: float
    longest_s: float


class ActivityLog:
    """The rank's side: notes every heartbeat of the items in its hands. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[str, _Heartbeat] = {}
        self._steps: deque[Step] = deque(maxlen=_MAX_STEPS)

    def note(self, item_id: str, stage: str, step: int, total: int) -> None:
        with self._lock:
            now = self._clock()
            longest_s = self._time(item_id, now, stage)
            self._last[item_id] = _Heartbeat(stage, step, total, now, longest_s)

    def end(self, item_id: str) -> None:
        with self._lock:
            self._time(item_id, self._clock())
            self._last.pop(item_id, None)

    def take_steps(self) -> tuple[Step, ...]:
        """The steps since the last call; the oldest are dropped when nobody asks for long."""
        with self._lock:
            steps = tuple(self._steps)
            self._steps.clear()
            return steps

    def _time(self, item_id: str, now: float, stage: str | None = None) -> float:
        """Note the step that ends now; returns the longest one of the item."""
        before = self._last.get(item_id)
        if before is None:
            return 0.0
        # A heartbeat says what has just been done, so the time belongs to what it names.
        self._steps.append(Step(stage or before.stage, now - before.at))
        return max(before.longest_s, now - before.at)

    def snapshot(self) -> tuple[Activity, ...]:
        """What is going on now, oldest item first."""
        with self._lock:
            now = self._clock()
            return tuple(
                Activity(item_id, said.stage, said.step, said.total, now - said.at, said.longest_s)
                for item_id, said in self._last.items()
            )


class Pulse:
    """The supervisor's side: how long one gang has been silent.

    A rank that does not answer is silent since its last answer (a stopped process), one that
    answers is silent as long as the item it has said nothing about for longest (a stuck kernel,
    a stalled upload), and one that was given items and works on none is silent since then.
    """

    def __init__(self, now: float) -> None:
        self.activities: tuple[Activity, ...] = ()
        self.heard_at = now
        self._busy_at = now

    def hear(
        self, activities: tuple[Activity, ...], now: float, *, owes_items: bool = False
    ) -> None:
        self.activities = activities
        self.heard_at = now
        if activities or not owes_items:
            self._busy_at = now

    def excuse(self, seconds: float) -> None:
        """Forgive a silence that was ours: nobody listened for so long."""
        self.heard_at += seconds
        self._busy_at += seconds

    def silent_s(self, now: float) -> float:
        longest = max((activity.silent_s for activity in self.activities), default=0.0)
        return max(now - self.heard_at + longest, now - self._busy_at)

    def exceeded_s(self, now: float, patience: Patience, first_step_s: float) -> float | None:
        """The limit that a silence is longer than by now, or None.

        A rank that does not answer at all has no excuse in what it was doing.
        """
        unheard_s = now - self.heard_at
        silences = [(max(unheard_s, now - self._busy_at), patience.timeout_s)]
        for activity in self.activities:
            allowed_s = patience.allowed_s(activity, first_step_s)
            silences.append((unheard_s + activity.silent_s, allowed_s))
        return min((limit for silent, limit in silences if silent > limit), default=None)


class Patience:
    """How long a silence is normal: 5 times the 99th percentile of the steps seen.

    Never below a minute, because a store may be slow. A first step, which may compile, is given
    more; so is an item whose own steps are longer than most, as of the one large clip among small
    ones. `fixed_s` is a person's own word and overrides it all.
    """

    def __init__(self, fixed_s: float | None = None) -> None:
        self._fixed_s = fixed_s
        self._seconds: deque[float] = deque(maxlen=_MAX_STEPS)
        self._timeout_s = MIN_HANG_S if fixed_s is None else fixed_s

    @property
    def timeout_s(self) -> float:
        """Silence after which a gang is taken to hang, whatever it does."""
        return self._timeout_s

    def allowed_s(self, activity: Activity, first_step_s: float) -> float:
        """The same while it does that; `first_step_s` is for the first step of a kind."""
        if self._fixed_s is not None:
            return self._fixed_s
        known_s = first_step_s if activity.is_first_step else HANG_FACTOR * activity.longest_s
        return max(self._timeout_s, known_s)

    def learn(self, steps: Iterable[Step]) -> None:
        """Take note of how long steps took."""
        self._seconds.extend(step.seconds for step in steps)
        if self._fixed_s is None and self._seconds:
            ordered = sorted(self._seconds)
            p99 = ordered[math.ceil(0.99 * len(ordered)) - 1]
            self._timeout_s = max(MIN_HANG_S, HANG_FACTOR * p99)
