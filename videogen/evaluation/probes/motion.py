"""Motion between frames a lag apart: how much, whose, and whether it explains what changed."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from videogen.evaluation.flow import (
    FlowPair,
    camera_motion,
    lengths,
    mean_channels,
    midpoint,
    warp,
)
from videogen.evaluation.frames import FrameView, resize
from videogen.evaluation.window import Window

TOP_SHARE = 0.05
CHANGED = 6 / 255
EXPLAINED = 0.5
ACCELERATION_FLOOR_PX = 0.05
TILES = 8


class PairProbe:
    """Frames t-lag and t. Lengths are in shares of the shorter side."""

    columns = (
        "residual",
        "residual_all",
        "flicker_tile",
        "occluded",
        "explained",
        "speed",
        "speed_top",
        "camera",
        "camera_x",
        "camera_y",
        "object",
    )
    delay_lags = 0

    def measure(self, window: Window) -> Mapping[str, float]:
        later, earlier = window.now, window.back(window.lag)
        if earlier is None:
            return {}
        flow = window.flow(earlier, later)
        return _appearance(earlier, later, flow) | _speeds(flow, min(later.grey.shape))


def _appearance(earlier: FrameView, later: FrameView, flow: FlowPair) -> dict[str, float]:
    signed = warp(later.unit, flow.forward) - earlier.unit
    left = mean_channels(np.abs(signed))
    plain = mean_channels(cv2.absdiff(later.unit, earlier.unit))
    visible = flow.visible
    total = float(visible.sum())
    return {
        "residual": float(left[visible].mean()) if total else float(left.mean()),
        "residual_all": float(left.mean()),
        "flicker_tile": _largest_tile(mean_channels(signed), visible),
        "occluded": 1 - total / visible.size,
        "explained": _explained(plain, left),
    }


def _explained(plain: np.ndarray, left: np.ndarray) -> float:
    """Share of the change that following the motion takes away; 0 where nothing changed."""
    changed = plain > CHANGED
    total = float(plain[changed].sum())
    if total <= 0:
        return 0.0
    return float(np.clip(1 - left[changed].sum() / total, 0, 1))


def _largest_tile(signed: np.ndarray, visible: np.ndarray) -> float:
    """90th percentile over tiles of the mean signed residual: brightness that came or went."""
    shape = (min(TILES, signed.shape[0]), min(TILES, signed.shape[1]))
    tiles = np.abs(resize(np.where(visible, signed, 0).astype(np.float32), *shape))
    return float(np.quantile(tiles, 0.9))


def _speeds(flow: FlowPair, side: int) -> dict[str, float]:
    camera = camera_motion(flow.forward)
    own = flow.forward - camera
    return {
        "speed": float(flow.speed.mean()) / side,
        "speed_top": _top_mean(flow.speed) / side,
        "camera": float(lengths(camera).mean()) / side,
        "camera_x": cv2.mean(camera)[0] / side,
        "camera_y": cv2.mean(camera)[1] / side,
        "object": _top_mean(lengths(own)) / side,
    }


def _top_mean(values: np.ndarray) -> float:
    """Mean of the largest 5 %."""
    count = max(1, int(values.size * TOP_SHARE))
    return float(np.partition(values.ravel(), -count)[-count:].mean())


class TripleProbe:
    """Frames t-lag, t, t+lag: is the middle where its neighbours say, does motion go on?"""

    columns = ("interpolation", "interpolation_top", "acceleration")
    delay_lags = 1

    def measure(self, window: Window) -> Mapping[str, float]:
        last, middle, first = window.now, window.back(window.lag), window.back(2 * window.lag)
        if first is None or middle is None:
            return {}
        wide = window.flow(first, last)
        error = mean_channels(cv2.absdiff(midpoint(first.unit, last.unit, wide), middle.unit))
        into, out = window.flow(first, middle), window.flow(middle, last)
        return {
            "interpolation": float(error.mean()),
            "interpolation_top": _top_mean(error),
            "acceleration": _acceleration(into, out),
        }


def _acceleration(into: FlowPair, out: FlowPair) -> float:
    """‖F2∘F1 - F1‖ over (‖F1‖ + ‖F2‖)/2, where the first frame's pixels stay visible."""
    gap = lengths(warp(out.forward, into.forward) - into.forward)
    visible = into.visible
    if not visible.any():
        visible = np.ones_like(visible)
    length = (float(into.speed.mean()) + float(out.speed.mean())) / 2
    return float(gap[visible].mean()) / (length + ACCELERATION_FLOOR_PX)
