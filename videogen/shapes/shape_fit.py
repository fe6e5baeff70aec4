"""Names a shape by comparing an object's centred mask, at one size, with templates of shapes."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from videogen.shapes.motion import TAU
from videogen.shapes.motion_fit import Track
from videogen.shapes.outlines import OUTLINES
from videogen.shapes.vocabulary import ROUND_SHAPES

GRID = 28
# Half the side of the compared patch, in side lengths of the square of the object's area.
HALF_SIDE = 1.0
NUM_ANGLES = 72
# Turns per frame. A coarse search is enough for this many frames, and these are enough for a shape.
SPIN_SPEEDS = np.linspace(0.015, 0.04, 11)
MAX_FRAMES = 33
# A steady turn must explain the masks this much better (in correlation) than any fixed angle.
SPIN_GAIN = 0.03


@dataclass(frozen=True)
class ShapeFit:
    """A shape's name, a confidence (0 to 1), and whether the object turns."""

    name: str
    confidence: float
    spins: bool


def name_shape(
    coverage: np.ndarray, track: Track, shapes: tuple[str, ...], may_spin: bool
) -> ShapeFit:
    """Compare the masks `[t h w]` of a tracked object with the templates of `shapes`.

    Shapes are read upright; with `may_spin`, a steady turn is tried too.
    """
    track = Track(
        track.frames[:MAX_FRAMES], track.signals[:, :MAX_FRAMES], track.area_px[:MAX_FRAMES]
    )
    patches = _patches(coverage[track.frames], track)
    templates = _templates(shapes)
    upright = _normalise(patches.mean(axis=0)) @ templates[:, 0].T
    if may_spin:
        turning = _turning_scores(_normalise(patches), templates, track.frames)
        fixed, spun = turning[:, 0].max(axis=1), turning[:, 1:].max(axis=(1, 2))
        best = int(np.argmax(spun))
        if spun[best] - fixed.max() > SPIN_GAIN and shapes[best] not in ROUND_SHAPES:
            return ShapeFit(shapes[best], _margin(spun), spins=True)
    return ShapeFit(shapes[int(np.argmax(upright))], _margin(upright), spins=False)


def _margin(scores: np.ndarray) -> float:
    """Confidence from the gap between the best and the second correlation; a tenth is certain."""
    ranked = np.sort(scores)
    return float(np.clip(10 * (ranked[-1] - ranked[-2]), 0, 1)) if len(ranked) > 1 else 1.0


def _turning_scores(patches: np.ndarray, templates: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Mean correlation `[shape speed start]` of `[n k]` with turning templates; speed 0 first."""
    match = np.einsum("nk,sak->nsa", patches, templates)
    speeds = np.concatenate(([0.0], SPIN_SPEEDS, -SPIN_SPEEDS))
    turned = np.rint(speeds[:, None] * frames * NUM_ANGLES).astype(int)
    angles = (turned[:, None, :] + np.arange(NUM_ANGLES)[:, None]) % NUM_ANGLES
    return match[np.arange(len(frames)), :, angles].mean(axis=2).transpose(2, 0, 1)


def _patches(coverage: np.ndarray, track: Track) -> np.ndarray:
    """Masks resampled about the object's centre to one area, `[n k]`, `k` the GRID x GRID."""
    num_frames, height, width = coverage.shape
    reach = HALF_SIDE * np.sqrt(track.area_px)[:, None]
    offsets = (np.arange(GRID) + 0.5) / GRID * 2 - 1
    columns = track.signals[0][:, None] * width - 0.5 + reach * offsets
    rows = track.signals[1][:, None] * height - 0.5 + reach * offsets
    values = np.zeros((num_frames, GRID, GRID), np.float32)
    index = np.arange(num_frames)[:, None, None]
    for row, row_share in _neighbours(rows, height):
        for column, column_share in _neighbours(columns, width):
            near = coverage[index, row[:, :, None], column[:, None, :]]
            values += near * row_share[:, :, None] * column_share[:, None, :]
    return values.reshape(num_frames, -1)


def _neighbours(places: np.ndarray, size: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """The two pixels around each place on a circular line, with their bilinear shares."""
    low = np.floor(places)
    share = (places - low).astype(np.float32)
    below = low.astype(int)
    return (below % size, 1 - share), ((below + 1) % size, share)


def _normalise(patches: np.ndarray) -> np.ndarray:
    """Zero mean and unit length over the last axis, so that a dot product is a correlation."""
    centred = patches - patches.mean(axis=-1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=-1, keepdims=True), 1e-6)


@lru_cache(maxsize=8)
def _templates(shapes: tuple[str, ...]) -> np.ndarray:
    """Normalised masks `[shape angle k]`, turned clockwise by `angle / NUM_ANGLES`."""
    fine = np.linspace(-1.2, 1.2, 241, dtype=np.float32)
    u, v = np.meshgrid(fine, fine)
    offsets = (np.arange(GRID) + 0.5) / GRID * 2 - 1
    right, down = np.meshgrid(offsets, offsets)
    turns = TAU * np.arange(NUM_ANGLES)[:, None, None] / NUM_ANGLES
    masks = []
    for shape in shapes:
        inside = OUTLINES[shape](u, v) < 0
        centre_u, centre_v = u[inside].mean(), v[inside].mean()
        reach = HALF_SIDE * np.sqrt(inside.mean() * 2.41**2)
        at_u = centre_u + reach * (np.cos(turns) * right + np.sin(turns) * down)
        at_v = centre_v + reach * (np.cos(turns) * down - np.sin(turns) * right)
        distance = OUTLINES[shape](at_u.astype(np.float32), at_v.astype(np.float32))
        masks.append(np.clip(0.5 - distance / (2 * reach / GRID), 0, 1))
    return _normalise(np.array(masks, np.float32).reshape(len(shapes), NUM_ANGLES, -1))
