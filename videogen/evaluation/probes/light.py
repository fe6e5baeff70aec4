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
        native = cv2.cvtColor(frame.native, cv2.COLOR_RGB2GRAY).astype(np.float32)
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
    """log2 of Laplacian energy over gradient energy: how short edges are, not how many.

    Unlike the Laplacian's variance it stays the same when an object grows or contrast changes.
    """
    image = cv2.GaussianBlur(grey, (3, 3), 0).astype(np.float32)
    laplacian = cv2.Laplacian(image, cv2.CV_32F)
    dx = cv2.Sobel(image, cv2.CV_32F, 1, 0, scale=1 / 8)
    dy = cv2.Sobel(image, cv2.CV_32F, 0, 1, scale=1 / 8)
    energy = float((dx**2 + dy**2).mean())
    return float(np.log2((float((laplacian**2).mean()) + 1e-3) / (energy + 1e-3)))


def noise(grey: np.ndarray) -> float:
    """Standard deviation of noise in grey levels, from the finest diagonal wavelet (Donoho)."""
    height, width = (side // 2 * 2 for side in grey.shape)
    g = grey[:height, :width]
    diagonal = (g[::2, ::2] - g[::2, 1::2] - g[1::2, ::2] + g[1::2, 1::2]) / 2
    return float(np.median(np.abs(diagonal)) / 0.6745)


def blockiness(grey: np.ndarray) -> float:
    """How much larger steps are at 8x8 block borders than elsewhere, in grey levels, 0 or more."""
    return max(0.0, (_border_excess(grey) + _border_excess(grey.T)) / 2)


def _border_excess(grey: np.ndarray) -> float:
    steps = np.abs(np.diff(grey, axis=1)).mean(axis=0)
    at_border = np.arange(1, len(steps) + 1) % BLOCK_PX == 0
    if not at_border.any() or at_border.all():
        return 0.0
    return float(steps[at_border].mean() - steps[~at_border].mean())


def clipped(frame: np.ndarray) -> float:
    """Share of values of a uint8 image that are 0 or 255."""
    inside = cv2.inRange(frame.reshape(-1, 1), 1, 254)  # type: ignore[call-overload]
    return 1 - cv2.countNonZero(inside) / frame.size


def colourfulness(rgb: np.ndarray) -> float:
    """Hasler and Süsstrunk (2003), of float RGB in [0, 1], times 100."""
    red_green = rgb[..., 0] - rgb[..., 1]
    yellow_blue = (rgb[..., 0] + rgb[..., 1]) / 2 - rgb[..., 2]
    spread = np.hypot(red_green.std(), yellow_blue.std())
    offset = np.hypot(red_green.mean(), yellow_blue.mean())
    return float(100 * (spread + 0.3 * offset))
