"""How much a frame differs from the one before it, without knowing about motion."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from videogen.evaluation.frames import FrameView, resize
from videogen.evaluation.window import Window

TILES = 8
HISTOGRAM_BINS = (8, 8, 8)


class ChangeProbe:
    """Adjacent frames: mean and largest local change, change of colours, second difference."""

    columns = ("mae_native", "change", "change_tile", "palette", "luma_second")
    delay_lags = 0

    def __init__(self) -> None:
        self._tiles: list[np.ndarray] = []
        self._histogram: np.ndarray | None = None

    def measure(self, window: Window) -> Mapping[str, float]:
        frame, before = window.now, window.back(1)
        row = {}
        if before is not None:
            row["mae_native"] = mean_absolute_difference(before.native, frame.native)
            difference = cv2.absdiff(before.rgb, frame.rgb).max(axis=2)
            row["change"] = float(difference.mean()) / 255
            row["change_tile"] = float(_tiles(difference.astype(np.float32)).max()) / 255
        return row | self._palette(frame) | self._second(frame)

    def _palette(self, frame: FrameView) -> dict[str, float]:
        histogram = _palette_of(frame)
        before, self._histogram = self._histogram, histogram
        if before is None:
            return {}
        total = before + histogram
        square = (before - histogram) ** 2
        return {"palette": float((square[total > 0] / total[total > 0]).sum() / 2)}

    def _second(self, frame: FrameView) -> dict[str, float]:
        """Median over tiles of the second difference of lightness, L* units."""
        self._tiles = [*self._tiles[-2:], _tiles(frame.lab[..., 0])]
        if len(self._tiles) < 3:
            return {}
        first, middle, last = self._tiles
        return {"luma_second": float(np.median(np.abs(last - 2 * middle + first)))}


def mean_absolute_difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean of |one - other| over all values of two uint8 images, in grey levels."""
    return float(cv2.norm(one, other, cv2.NORM_L1)) / one.size


def _tiles(image: np.ndarray) -> np.ndarray:
    """Means of an 8x8 grid of tiles."""
    return resize(image, min(TILES, image.shape[0]), min(TILES, image.shape[1]))


def _palette_of(frame: FrameView) -> np.ndarray:
    ranges = [0, 100.001, -100, 100, -100, 100]
    histogram = cv2.calcHist([frame.lab], [0, 1, 2], None, list(HISTOGRAM_BINS), ranges)
    histogram = cv2.GaussianBlur(histogram.reshape(8, 64), (3, 3), 0).ravel()
    return histogram / max(1.0, float(histogram.sum()))
