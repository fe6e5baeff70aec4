"""Tells what stands out from a smooth background, without weights; and describes both."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

ROUNDS = 6
OUTLIER_DELTA_E = 8.0
SUBJECT_DELTA_E = (6.0, 18.0)
PRESENT_AREA = 0.004
RADIAL_BINS = 8
BACKGROUND_GRID = 4


@dataclass(frozen=True)
class Segmentation:
    """A frame split softly in two.

    Attributes:
        weight: float32 `h w`, 0 (background) to 1 (subject).
        backdrop: float32 `h w c`, the fitted smooth background in LAB.
        area: mean of `weight`.
        subject: LAB mean of the subject `[c]`; the background's where there is none.
        background: LAB mean of the background `[c]`.
    """

    weight: np.ndarray
    backdrop: np.ndarray
    area: float
    subject: np.ndarray
    background: np.ndarray


@cache
def _surface(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Design matrix `[h*w, 6]` of a parabola over the frame, and a mask `[h*w]` of its rim."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = x / max(1, width - 1) - 0.5, y / max(1, height - 1) - 0.5
    rim = np.maximum(np.abs(x), np.abs(y)) > 0.4
    design = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6)
    return design, rim.reshape(-1).astype(np.float32)


def segment(lab: np.ndarray) -> Segmentation:
    """Fit a parabola of colour to the background and weigh pixels by their distance from it.

    Iteratively reweighted least squares with Geman-McClure weights, begun at the rim.

    Args:
        lab: float32 `h w c`.
    """
    height, width, channels = lab.shape
    design, weight = _surface(height, width)
    pixels = lab.reshape(-1, channels)
    distance = np.zeros(len(pixels), np.float32)
    fitted = pixels
    for _ in range(ROUNDS):
        weighted = design * weight[:, None]
        normal = weighted.T @ design + 1e-3 * np.eye(6, dtype=np.float32)
        fitted = design @ np.linalg.solve(normal, weighted.T @ pixels)
        distance = _norm(pixels - fitted)
        weight = 1 / (1 + (distance / OUTLIER_DELTA_E) ** 2) ** 2
    low, high = SUBJECT_DELTA_E
    mask = np.clip((distance - low) / (high - low), 0, 1)
    background = _weighted_mean(pixels, 1 - mask, fitted.mean(axis=0))
    return Segmentation(
        weight=mask.reshape(height, width),
        backdrop=fitted.reshape(height, width, channels),
        area=float(mask.mean()),
        subject=_weighted_mean(pixels, mask**2, background),
        background=background,
    )


def _norm(rows: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("pc,pc->p", rows, rows))


def _weighted_mean(pixels: np.ndarray, weight: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    total = float(weight.sum())
    # einsum, not BLAS: the sum may not depend on the number of threads.
    return np.einsum("p,pc->c", weight, pixels) / total if total > 1 else otherwise


@dataclass(frozen=True)
class Descriptor:
    """A frame in few numbers, to compare with others at any distance in time."""

    colour: np.ndarray
    presence: float
    radial: np.ndarray
    grid: np.ndarray


def describe(lab: np.ndarray, parts: Segmentation) -> Descriptor:
    """Colour, presence and outline of the subject; colours of the background on a 4x4 grid."""
    return Descriptor(
        colour=parts.subject,
        presence=min(1.0, parts.area / PRESENT_AREA),
        radial=_radial_profile(parts.weight),
        grid=_background_grid(lab, parts),
    )


def _radial_profile(weight: np.ndarray) -> np.ndarray:
    """Share of the subject by distance from its centre, in units of its own size.

    Moving, turning and growing leave it as it is; another outline does not.
    """
    total = float(weight.sum())
    if total < 1:
        return np.zeros(RADIAL_BINS, np.float32)
    y, x = np.mgrid[0 : weight.shape[0], 0 : weight.shape[1]].astype(np.float32)
    cy, cx = float((weight * y).sum()) / total, float((weight * x).sum()) / total
    radius = np.hypot(y - cy, x - cx) / np.sqrt(total / np.pi)
    place = np.clip(radius / 2 * RADIAL_BINS, 0, RADIAL_BINS - 1.001)
    low = place.astype(np.int64)
    share = place - low
    profile = np.bincount(low.ravel(), (weight * (1 - share)).ravel(), RADIAL_BINS + 1)
    profile += np.bincount(low.ravel() + 1, (weight * share).ravel(), RADIAL_BINS + 1)
    return (profile[:RADIAL_BINS] / total).astype(np.float32)


def _background_grid(lab: np.ndarray, parts: Segmentation) -> np.ndarray:
    """Mean LAB `[cells c]` of the background per cell, with the fit where the subject covers it."""
    seen = lab + parts.weight[..., None] * (parts.backdrop - lab)
    rows = np.array_split(seen, BACKGROUND_GRID, axis=0)
    cells = [cell for row in rows for cell in np.array_split(row, BACKGROUND_GRID, axis=1)]
    return np.stack([cell.mean(axis=(0, 1)) for cell in cells])


def subject_similarity(one: Descriptor, other: Descriptor) -> float:
    """0 to 1: colour (exp of -ΔE/15), outline (L1 of radial profiles) and presence."""
    colour = float(np.linalg.norm(one.colour - other.colour)) / 15
    outline = float(np.abs(one.radial - other.radial).sum()) / 2
    presence = 2 * abs(one.presence - other.presence)
    return float(np.exp(-(colour + outline + presence)))


def background_similarity(one: Descriptor, other: Descriptor) -> float:
    """0 to 1: exp of minus the mean ΔE over the grid by 10."""
    distance = np.linalg.norm(one.grid - other.grid, axis=1).mean()
    return float(np.exp(-distance / 10))
