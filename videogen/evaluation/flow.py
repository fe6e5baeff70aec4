"""Optical flow between two frames, in both directions, and what it can and cannot explain.

Dense inverse search (Kroeger et al., 2016) from OpenCV, whose result does not depend on the number
of threads. Occlusion is the forward-backward check of Sundaram et al. (2010).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import cv2
import numpy as np

OCCLUSION_SLOPE, OCCLUSION_OFFSET = 0.01, 0.5


@cache
def _grid(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.stack([x, y], axis=-1)


def dis_flow(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Where each pixel of `source` went: float32 `h w (x, y)` in pixels, from uint8 grey `h w`."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return dis.calc(source, target, None)  # type: ignore[call-overload]


def warp(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Fetch `image` `h w [c]` at each pixel's place plus `flow`; the border is repeated."""
    places = _grid(*flow.shape[:2]) + flow
    return cv2.remap(image, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]


def lengths(flow: np.ndarray) -> np.ndarray:
    """float32 `h w`: length of every vector of `h w (x, y)`."""
    return cv2.magnitude(np.ascontiguousarray(flow[..., 0]), np.ascontiguousarray(flow[..., 1]))


def mean_channels(image: np.ndarray) -> np.ndarray:
    """float32 `h w` from float32 `h w (r, g, b)`."""
    return cv2.transform(image, np.full((1, 3), 1 / 3, np.float32))


@dataclass(frozen=True)
class FlowPair:
    """Flow from an earlier to a later frame, and back."""

    forward: np.ndarray
    backward: np.ndarray

    @cached_property
    def visible(self) -> np.ndarray:
        """bool `h w` of the earlier frame: pixels found again by going there and back."""
        returned = warp(self.backward, self.forward)
        gap = lengths(self.forward + returned) ** 2
        length = self.speed**2 + lengths(returned) ** 2
        return gap <= OCCLUSION_SLOPE * length + OCCLUSION_OFFSET

    @cached_property
    def speed(self) -> np.ndarray:
        """float32 `h w`: length of the forward flow in pixels."""
        return lengths(self.forward)


def flow_between(earlier: np.ndarray, later: np.ndarray) -> FlowPair:
    """Flow both ways between uint8 grey images `h w`."""
    return FlowPair(dis_flow(earlier, later), dis_flow(later, earlier))


def midpoint(earlier: np.ndarray, later: np.ndarray, flow: FlowPair) -> np.ndarray:
    """The frame halfway, float32 `h w c`, by warping both ends (Jiang et al., 2018, eq. 4)."""
    to_earlier = (flow.backward - flow.forward) / 4
    return (warp(earlier, to_earlier) + warp(later, -to_earlier)) / 2


def camera_motion(flow: np.ndarray, step: int = 8) -> np.ndarray:
    """The part of a flow `h w (x, y)` that turning, zooming and panning the camera explains.

    A similarity transform agreed on by most of a regular grid of points (RANSAC with OpenCV's fixed
    seed); zero where too few points agree.
    """
    grid = _grid(*flow.shape[:2])
    start = grid[step // 2 :: step, step // 2 :: step].reshape(-1, 2)
    end = start + flow[step // 2 :: step, step // 2 :: step].reshape(-1, 2)
    matrix, agrees = cv2.estimateAffinePartial2D(start, end, ransacReprojThreshold=0.5)
    if matrix is None or agrees.mean() < 0.4:
        return np.zeros_like(flow)
    matrix = matrix.astype(np.float32)
    return grid @ matrix[:, :2].T + matrix[:, 2] - grid
