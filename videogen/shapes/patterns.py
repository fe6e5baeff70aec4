"""The patterns of textured backgrounds: how much of the marking colour is where.

Each function takes places `u` (right) and `v` (down) in periods of the pattern, and the length of a
period in pixels, and gives shares from 0 to 1 with edges about a pixel and a half wide.
"""

from collections.abc import Callable

import numpy as np

PERIODS = 3
"""Periods over the shorter side of the picture."""
EDGE_PX = 1.5

Pattern = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def dots(u: np.ndarray, v: np.ndarray, period_px: np.ndarray) -> np.ndarray:
    """Discs of a radius of 0.38 periods on a square grid."""
    distance = np.hypot(u - np.round(u), v - np.round(v)) - 0.38
    return _soft(-distance * period_px)


def stripes(u: np.ndarray, v: np.ndarray, period_px: np.ndarray) -> np.ndarray:
    """Upright, half as wide as the period."""
    del v
    return _soft((np.abs(u - np.round(u)) - 0.25) * period_px)


def checks(u: np.ndarray, v: np.ndarray, period_px: np.ndarray) -> np.ndarray:
    """Two squares by two in a period."""
    across, down = (_inside(places) for places in (u, v))
    return _soft(np.minimum(np.abs(across), np.abs(down)) * np.sign(across * down) * period_px)


def _inside(places: np.ndarray) -> np.ndarray:
    """Signed distance to the nearest border of a half period, in periods."""
    return 0.25 - np.abs(places - np.floor(places) - 0.5)


def _soft(distance_px: np.ndarray) -> np.ndarray:
    return np.clip(0.5 + distance_px / EDGE_PX, 0, 1)


PATTERNS: dict[str, Pattern] = {"dots": dots, "stripes": stripes, "checks": checks}
