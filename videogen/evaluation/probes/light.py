"""Colour, contrast, sharpness and technical quality of single frames."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from videogen.evaluation.frames import FrameView
from videogen.evaluation.window import Window

SUBJECT_COLUMNS = ("subject_l", "subject_a", "subject_b")
BACKGROUND_COLUMNS = ("background_l", "background_a", "background_b")
BLOCK_PX = 8
MIN_AREA = 0.002
STRONG_EDGE = 0.5
"""Share of the steepest gradient from which a pixel counts as an edge."""
LEAST_EDGE = 0.75
"""Grey levels a pixel: one single level, as rounding leaves it on a blank frame, is less steep."""


class LightProbe:
    """Numbers of one frame alone."""

    columns = (
        "luma",
        "contrast",
        "chroma",
        "area",
        *SUBJECT_COLUMNS,
        *BACKGROUND_COLUMNS,
        "sharpness",
        "noise",
        "blockiness",
        "colourfulness",
        "clipped",
    )
    delay_lags = 0

    def measure(self, window: Window) -> Mapping[str, float]:
        frame = window.now
        native = cv2.cvtColor(frame.native, cv2.COLOR_RGB2GRAY)
        return {
            "luma": cv2.mean(frame.lab)[0],
            **_parts(frame),
            "sharpness": sharpness(frame.grey),
            "noise": noise(native),
            "blockiness": blockiness(native),
            "colourfulness": colourfulness(frame.unit),
            "clipped": clipped(frame.native),
        }


def _parts(frame: FrameView) -> dict[str, float]:
    """Colours of subject and background, and how far apart they are (ΔE)."""
    parts = frame.segmentation
    row: dict[str, float] = {"area": parts.area}
    row.update(zip(BACKGROUND_COLUMNS, map(float, parts.background), strict=True))
    if parts.area >= MIN_AREA:
        row.update(zip(SUBJECT_COLUMNS, map(float, parts.subject), strict=True))
        row["contrast"] = float(np.linalg.norm(parts.subject - parts.background))
        row["chroma"] = float(np.hypot(parts.subject[1], parts.subject[2]))
    return row


def sharpness(grey: np.ndarray) -> float:
    """log2 of Laplacian energy over gradient energy on the strongest edges: how short they are.

    Unlike the Laplacian's variance it stays the same when an object grows or contrast changes.
    NaN of a frame without edges.
    """
    image = cv2.GaussianBlur(grey, (3, 3), 0).astype(np.float32)
    laplacian = cv2.Laplacian(image, cv2.CV_32F)
    dx = cv2.Sobel(image, cv2.CV_32F, 1, 0, scale=1 / 8)
    dy = cv2.Sobel(image, cv2.CV_32F, 0, 1, scale=1 / 8)
    energy = dx**2 + dy**2
    if energy.max() < LEAST_EDGE**2:
        return float("nan")
    edges = energy >= STRONG_EDGE**2 * energy.max()
    curved, steep = (laplacian[edges] ** 2).sum(), energy[edges].sum()
    return float(np.log2(curved + 1e-3) - np.log2(steep + 1e-3))


def noise(grey: np.ndarray) -> float:
    """Standard deviation of noise of uint8 `h w`, in grey levels.

    From the median of the finest diagonal wavelet (Donoho and Johnstone, 1994).
    """
    height, width = (side // 2 * 2 for side in grey.shape)
    even, odd = grey[:height:2, :width], grey[1:height:2, :width]
    rows = cv2.subtract(even, odd, dtype=cv2.CV_16S)
    diagonal = np.abs(rows[:, ::2] - rows[:, 1::2])
    below = np.cumsum(np.bincount(diagonal.ravel(), minlength=1))
    median = int(np.searchsorted(below, (diagonal.size + 1) // 2))
    return median / 2 / 0.6745


def blockiness(grey: np.ndarray) -> float:
    """How much larger steps are at 8x8 block borders than elsewhere, in grey levels, 0 or more."""
    across = cv2.absdiff(grey[:, 1:], grey[:, :-1])
    down = cv2.absdiff(grey[1:], grey[:-1])
    steps = [_line_means(across, 0), _line_means(down, 1)]
    return max(0.0, sum(map(_border_excess, steps)) / 2)


def _line_means(image: np.ndarray, dim: int) -> np.ndarray:
    return cv2.reduce(image, dim, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel()


def _border_excess(steps: np.ndarray) -> float:
    at_border = np.arange(1, len(steps) + 1) % BLOCK_PX == 0
    if not at_border.any() or at_border.all():
        return 0.0
    return float(steps[at_border].mean() - steps[~at_border].mean())


def clipped(frame: np.ndarray) -> float:
    """Share of values of a uint8 image that are 0 or 255."""
    values = frame.reshape(len(frame), -1)
    inside = cv2.countNonZero(values) + cv2.countNonZero(cv2.bitwise_not(values))
    return 2 - inside / frame.size


def colourfulness(rgb: np.ndarray) -> float:
    """Hasler and Süsstrunk (2003), of float RGB in [0, 1], times 100."""
    red_green = rgb[..., 0] - rgb[..., 1]
    yellow_blue = (rgb[..., 0] + rgb[..., 1]) / 2 - rgb[..., 2]
    spread = np.hypot(red_green.std(), yellow_blue.std())
    offset = np.hypot(red_green.mean(), yellow_blue.mean())
    return float(100 * (spread + 0.3 * offset))
