"""Reads what the camera does from how a textured background moves."""

from dataclasses import dataclass, replace

import numpy as np

from videogen.shapes.motion_fit import Track

# How far from rest a camera has to be, per frame: in widths, and in natural logarithms of scale.
MIN_PAN = 0.008
MIN_ZOOM = 0.012
# What scenes show, to tell which of the two explains a clip.
USUAL_PAN = 0.023
USUAL_ZOOM = 0.034
# Gradients are in 8-bit levels per pixel; this much keeps what a pattern does not show near zero.
RIDGE = 25.0
BLUR_PX = 2
NUM_REFINEMENTS = 4


@dataclass(frozen=True)
class CameraReading:
    """What the camera does, and how far it had gone at each frame.

    Attributes:
        name: one of `vocabulary.CAMERAS`.
        x: float64 `[t]`, how far it has moved to the right, in widths.
        scale: float64 `[t]`, how much larger things look than at frame 0.
    """

    name: str
    x: np.ndarray
    scale: np.ndarray

    def at_rest(self, track: Track) -> Track:
        """A track as a camera at rest would have seen it."""
        x, scale = self.x[track.frames], self.scale[track.frames]
        column, row, size = track.signals
        right, below = _from_middle(column), _from_middle(row)
        signals = np.stack((0.5 + x + right / scale, 0.5 + below / scale, size - np.log2(scale)))
        return replace(track, signals=signals)


def camera_at_rest(num_frames: int) -> CameraReading:
    """The reading where nothing shows a motion of the camera."""
    return CameraReading("still", np.zeros(num_frames), np.ones(num_frames))


def read_camera(texture: np.ndarray, visible: np.ndarray) -> CameraReading:
    """Fit a pan and a zoom to each pair of frames, by least squares on the change of brightness.

    That is the method of Lucas & Kanade (1981) with one shift and one scale for the whole picture.

    Args:
        texture: float32 `[t h w]`, what the pattern adds to an even background, in 8-bit levels.
        visible: bool `[t h w]`, where no object covers it.
    """
    width = texture.shape[2]
    soft = _blurred(np.where(visible, texture, 0))
    shown = _blurred(visible.astype(np.float32)) > 0.999
    steps = np.array(
        [_step(soft[i], soft[i + 1], shown[i] & shown[i + 1]) for i in range(len(texture) - 1)]
    )
    pans, zooms = -steps[:, 0] / width, steps[:, 1]
    x = np.concatenate(([0.0], np.cumsum(pans)))
    scale = np.exp(np.concatenate(([0.0], np.cumsum(zooms))))
    pan, zoom = float(np.median(pans)), float(np.median(zooms))
    if abs(zoom) > MIN_ZOOM and abs(zoom) / USUAL_ZOOM > abs(pan) / USUAL_PAN:
        return CameraReading("zoom in" if zoom > 0 else "zoom out", np.zeros_like(x), scale)
    if abs(pan) > MIN_PAN:
        return CameraReading("pan right" if pan > 0 else "pan left", x, np.ones_like(scale))
    return camera_at_rest(len(texture))


def _from_middle(places: np.ndarray) -> np.ndarray:
    """Places on the torus as distances from its middle, the first of them the shortest."""
    return places - 0.5 - np.round(places[0] - 0.5)


def _step(before: np.ndarray, after: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Shift to the right in pixels and growth (natural logarithm) from one frame to the next."""
    height, width = before.shape
    y, x = np.mgrid[:height, :width] - np.array([height - 1, width - 1])[:, None, None] / 2
    down, across = np.gradient(before)
    columns = np.stack([term[shown] for term in (across, down, across * x + down * y)], axis=1)
    ridge = RIDGE * np.diag([1.0, 1.0, (width / 4) ** 2])
    found = np.zeros(3)
    for _ in range(NUM_REFINEMENTS):
        shift_x, shift_y, growth = found
        scale = np.exp(growth)
        moved = _sampled(after, y * scale + shift_y, x * scale + shift_x)
        change = (moved - before)[shown]
        found = found - np.linalg.solve(columns.T @ columns + ridge, columns.T @ change)
    return found[[0, 2]]


def _sampled(picture: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A picture `[h w]` at places from its middle, bilinear, going on beyond its borders."""
    height, width = picture.shape
    rows = np.clip(y + (height - 1) / 2, 0, height - 1.001)
    columns = np.clip(x + (width - 1) / 2, 0, width - 1.001)
    top, left = rows.astype(int), columns.astype(int)
    down, right = rows - top, columns - left
    upper = picture[top, left] * (1 - right) + picture[top, left + 1] * right
    lower = picture[top + 1, left] * (1 - right) + picture[top + 1, left + 1] * right
    return upper * (1 - down) + lower * down


def _blurred(frames: np.ndarray) -> np.ndarray:
    """A box blur of `[t h w]` over `2 BLUR_PX + 1` pixels each way; borders count as nothing."""
    size = 2 * BLUR_PX + 1
    for axis in (1, 2):
        pad = [(0, 0)] * 3
        pad[axis] = (BLUR_PX + 1, BLUR_PX)
        sums = np.cumsum(np.pad(frames, pad), axis=axis, dtype=np.float64)
        ends = np.arange(size, sums.shape[axis])
        frames = (np.take(sums, ends, axis) - np.take(sums, ends - size, axis)) / size
    return frames
