"""The few frames a probe may look at: the newest, and those one and two lags before it."""

from __future__ import annotations

from collections import deque

import numpy as np

from videogen.evaluation.flow import FlowPair, flow_between
from videogen.evaluation.frames import FrameView

LAG_S = 1 / 24
"""Pairs of frames are this far apart, or one frame where the clip has fewer frames a second."""


def lag_frames(fps: float) -> int:
    """Distance in frames of the pairs that motion is measured on: 1 below 36 fps, 2 up to 60, …"""
    return max(1, round(fps * LAG_S))


class Window:
    """Frames `t`, `t-1`, `t-lag`, `t-2 lag`, and the flows between those a lag apart.

    Flows are computed when first asked for and kept while they are needed.
    """

    def __init__(self, size: int, lag: int) -> None:
        self.size = size
        self.lag = lag
        self._frames: deque[FrameView] = deque(maxlen=2 * lag + 1)
        self._flows: dict[tuple[int, int], FlowPair] = {}
        self._count = 0

    def push(self, native: np.ndarray) -> None:
        """Take the next frame, uint8 `h w c`."""
        self._frames.append(FrameView(self._count, native, self.size))
        self._count += 1
        oldest = self._frames[0].index
        for pair in [pair for pair in self._flows if pair[0] < oldest]:
            del self._flows[pair]

    @property
    def now(self) -> FrameView:
        return self._frames[-1]

    def back(self, num_frames: int) -> FrameView | None:
        """The frame `num_frames` ago, or None before the beginning."""
        return self._frames[-1 - num_frames] if num_frames < len(self._frames) else None

    def flow(self, earlier: FrameView, later: FrameView) -> FlowPair:
        """Flow between two frames of this window."""
        pair = (earlier.index, later.index)
        if pair not in self._flows:
            self._flows[pair] = flow_between(earlier.grey, later.grey)
        return self._flows[pair]
