"""Where a video is cut: at its scene changes, and scenes that are too long into equal parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from videogen.evaluation.metrics.cuts import CUT_Z

FEW_FRAMES = 8


class Span(NamedTuple):
    """Frames `start` to `stop`, not included."""

    start: int
    stop: int

    @property
    def num_frames(self) -> int:
        return self.stop - self.start


def find_cuts(curve: np.ndarray) -> list[int]:
    """The first frames of new scenes, where `cut.jump` steps out of what is usual in a video.

    What is usual is not well known from few frames: the limit is higher there, twice `CUT_Z` for
    8 frames. An honest clip of 5 frames was seen to reach 8.3, cuts of rendered scenes reach 10 to
    60.

    Args:
        curve: `[t]`, robust standard deviations.
    """
    limit = CUT_Z * (1 + FEW_FRAMES / len(curve))
    return [int(index) for index in np.flatnonzero(curve > limit)]


def scenes(num_frames: int, cuts: Sequence[int]) -> list[Span]:
    """The spans between cuts; a cut is the first frame of what follows it."""
    edges = sorted({0, num_frames, *(cut for cut in cuts if 0 < cut < num_frames)})
    return [Span(start, stop) for start, stop in pairwise(edges)]


def pieces(scene: Span, max_frames: int) -> Iterator[Span]:
    """A scene in as few parts as fit, whose lengths differ by one frame at most."""
    count = -(-scene.num_frames // max_frames)
    for index in range(count):
        start, stop = (scene.start + scene.num_frames * i // count for i in (index, index + 1))
        yield Span(start, stop)
