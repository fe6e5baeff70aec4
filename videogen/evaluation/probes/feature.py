"""One vector per clip for comparing sets of clips, from motion, colours and gradients.

Its parts: a histogram of flow (8 directions x 4 speeds), LAB mean and spread on a 2x2 grid, a
histogram of gradient directions, and a histogram of change in time; of each the mean over frames
and the standard deviation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from videogen.evaluation.flow import mean_channels
from videogen.evaluation.frames import FrameView
from videogen.evaluation.window import Window

DIRECTIONS = 8
SPEED_EDGES = (0.002, 0.01, 0.03, 0.08)
"""Shares of the shorter side per frame; slower pixels count as still and are left out."""
CHANGE_EDGES = (0.01, 0.03, 0.1, 0.3)
CELLS = 2


class FeatureProbe:
    """Sums of the per-frame vectors and of their squares."""

    columns = ()
    delay_lags = 0

    def __init__(self) -> None:
        self._count = 0
        self._sum: np.ndarray | float = 0.0
        self._square: np.ndarray | float = 0.0

    def measure(self, window: Window) -> Mapping[str, float]:
        later, earlier = window.now, window.back(window.lag)
        if earlier is None:
            return {}
        vector = np.concatenate(
            [
                _flow_histogram(window.flow(earlier, later).forward, min(later.grey.shape)),
                _change_histogram(earlier, later),
                _colours(later.lab),
                _gradient_histogram(later.grey),
            ]
        )
        self._count += 1
        self._sum = self._sum + vector
        self._square = self._square + vector**2
        return {}

    def conclude(self) -> Mapping[str, Any]:
        """`feature`: float32 `[d]`."""
        if not self._count:
            return {}
        mean = self._sum / self._count
        spread = np.sqrt(np.maximum(self._square / self._count - mean**2, 0))
        return {"feature": np.concatenate([mean, spread]).astype(np.float32)}


def _sector(dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    turn = np.arctan2(dy, dx) / (2 * np.pi) % 1
    return np.rint(turn * DIRECTIONS).astype(np.int64) % DIRECTIONS


def _flow_histogram(flow: np.ndarray, side: int) -> np.ndarray:
    speed = np.hypot(flow[..., 0], flow[..., 1]) / side
    level = np.digitize(speed, SPEED_EDGES)
    place = level * DIRECTIONS + _sector(flow[..., 0], flow[..., 1])
    counts = np.bincount(place.ravel(), minlength=(len(SPEED_EDGES) + 1) * DIRECTIONS)
    return np.sqrt(counts[DIRECTIONS:] / speed.size)


def _change_histogram(earlier: FrameView, later: FrameView) -> np.ndarray:
    change = mean_channels(cv2.absdiff(later.unit, earlier.unit))
    counts = np.bincount(np.digitize(change, CHANGE_EDGES).ravel(), minlength=5)
    return np.sqrt(counts / change.size)


def _colours(lab: np.ndarray) -> np.ndarray:
    """Mean and spread of LAB on a grid, in units of 100."""
    rows = np.array_split(lab, CELLS, axis=0)
    cells = [cell for row in rows for cell in np.array_split(row, CELLS, axis=1)]
    parts = [part for c in cells for part in (c.mean(axis=(0, 1)), c.std(axis=(0, 1)))]
    return np.concatenate(parts) / 100


def _gradient_histogram(grey: np.ndarray) -> np.ndarray:
    dx = cv2.Sobel(grey, cv2.CV_32F, 1, 0)
    dy = cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    strength = np.hypot(dx, dy).ravel()
    counts = np.bincount(_sector(dx, dy).ravel(), strength, DIRECTIONS)
    return np.sqrt(counts / (255 * strength.size))
