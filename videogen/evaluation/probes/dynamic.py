"""What VBench's dynamic degree looks at: RAFT flow between frames at about 8 a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from videogen.evaluation.window import Window

if TYPE_CHECKING:
    from videogen.evaluation.backends.encoders import PublishedFlow

SAMPLED_FPS = 8
MIN_SIDE_PX = 121
"""Padded to 128 px, the least at which RAFT's coarsest level has more than one pixel."""


class DynamicProbe:
    """Mean length of the longest 5 % of flow vectors, native pixels, on every sampled frame."""

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
        return {} if before is None else {"raft_top": self._flow.top_speed(before, frame.native)}

    def conclude(self) -> Mapping[str, Any]:
        """`raft`: frames sampled and the shorter side in pixels."""
        return {"raft": {"sampled": self._count, "side": self._side}}
