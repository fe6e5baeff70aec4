"""What VBench's dynamic degree and static filter look at: the fastest part of RAFT's flow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from videogen.evaluation.window import Window

if TYPE_CHECKING:
    from videogen.evaluation.backends.encoders import PublishedFlow

SAMPLED_FPS = 8
DYNAMIC_SHARE, STATIC_SHARE = 0.05, 0.02
MIN_SIDE_PX = 121
"""Padded to 128 px, the least at which RAFT's coarsest level has more than one pixel."""


class DynamicProbe:
    """The longest 5 % of flow vectors, native pixels, between frames at about 8 a second."""

    columns = ("raft_top",)
    delay_lags = 0

    def __init__(self, flow: PublishedFlow, fps: float) -> None:
        self._flow = flow
        self._interval = max(1, round(fps / SAMPLED_FPS))
        self._before: np.ndarray | None = None
        self._side = 0
        self._count = 0

    def measure(self, window: Window) -> Mapping[str, float]:
        frame = window.now
        self._side = min(frame.native.shape[:2])
        if frame.index % self._interval or self._side < MIN_SIDE_PX:
            return {}
        before, self._before = self._before, frame.native
        self._count += 1
        if before is None:
            return {}
        return {"raft_top": self._flow.top_speed(before, frame.native, DYNAMIC_SHARE)}

    def conclude(self) -> Mapping[str, Any]:
        """`raft`: frames sampled and the shorter side in pixels."""
        return {"raft": {"sampled": self._count, "side": self._side}}


class StaticProbe:
    """The longest 2 % between adjacent frames, and between the first and the last both ways."""

    columns = ("raft_static",)
    delay_lags = 0

    def __init__(self, flow: PublishedFlow) -> None:
        self._flow = flow
        self._first: np.ndarray | None = None
        self._last: np.ndarray | None = None

    def measure(self, window: Window) -> Mapping[str, float]:
        frame = window.now.native
        if min(frame.shape[:2]) < MIN_SIDE_PX:
            return {}
        before, self._last = self._last, frame
        if self._first is None or before is None:
            self._first = frame
            return {}
        return {"raft_static": self._flow.top_speed(before, frame, STATIC_SHARE)}

    def conclude(self) -> Mapping[str, Any]:
        """`raft_ends`: speeds between first and last frame, and the shorter side in pixels."""
        first, last = self._first, self._last
        if first is None or last is None:
            return {}
        speeds = [self._flow.top_speed(*pair, STATIC_SHARE) for pair in _both(first, last)]
        return {"raft_ends": {"speeds": speeds, "side": min(first.shape[:2])}}


def _both(one: np.ndarray, other: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    return (one, other), (other, one)
