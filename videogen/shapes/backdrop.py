"""Reads the background of a clip: its name, and the colour to expect at every pixel."""

from dataclasses import dataclass

import numpy as np

from videogen.shapes.render import render_background

# Colour distances, in 8-bit RGB levels.
FAR = 60.0
NEAR_NAMED = 48.0
NEAR_FITTED = 32.0
MAX_FIT_FRAMES = 6


@dataclass(frozen=True)
class Backdrop:
    """What lies behind the objects.

    Attributes:
        name: the nearest named background.
        image: float32 `[h w c]`, the fitted background, 0 to 255.
        confidence: 0 to 1, from how much nearer the clip is to this name than to the next.
    """

    name: str
    image: np.ndarray
    confidence: float


def read_backdrop(frames: np.ndarray, names: tuple[str, ...]) -> Backdrop:
    """Name and fit the background of float32 `frames` `[t h w c]` (0 to 255).

    The name is the one whose picture most pixels are near; distances saturate, so an object that covers a third
    of the picture counts no more than its area. The image is a colour plane fitted to the pixels that are near,
    so that a background of the wrong tint still separates from the object.
    """
    num_frames, height, width, _ = frames.shape
    picked = frames[np.linspace(0, num_frames - 1, min(num_frames, MAX_FIT_FRAMES)).astype(int)]
    offs = []
    for name in names:
        named = render_background(name, height, width).astype(np.float32)
        offs.append(np.minimum(np.linalg.norm(picked - named, axis=-1), FAR).mean())
    order = np.argsort(offs)
    best, runner_up = offs[order[0]], offs[order[min(1, len(names) - 1)]]
    name = names[order[0]]

    image = render_background(name, height, width).astype(np.float32)
    for reach in (NEAR_NAMED, NEAR_FITTED):
        near = np.linalg.norm(picked - image, axis=-1) < reach
        if near.mean() < 0.2:
            break
        image = _fit_plane(picked, near)
    return Backdrop(name, image, float(1 - best / max(runner_up, 1e-6)))


def _fit_plane(frames: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Least squares of colour on (1, x, y) over the pixels marked in `near` `[t h w]`; returns `[h w c]`."""
    _, height, width, channels = frames.shape
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    basis = np.stack((np.ones_like(x), x, y), axis=-1).reshape(-1, 3).astype(np.float32)
    weight = near.sum(axis=0).reshape(-1, 1).astype(np.float32)
    total = np.where(near[..., None], frames, 0).sum(axis=0).reshape(-1, channels)
    coefficients = np.linalg.solve(basis.T @ (basis * weight), basis.T @ total)
    return (basis @ coefficients).reshape(height, width, channels).astype(np.float32)
