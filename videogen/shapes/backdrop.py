"""Reads the background of a clip: its name, and the colour to expect at every pixel."""

from dataclasses import dataclass

import numpy as np

from videogen.shapes.render import render_background
from videogen.shapes.texture_fit import MIN_SPREAD, name_texture
from videogen.shapes.vocabulary import TEXTURES

# Colour distances, in 8-bit RGB levels.
FAR = 60.0
NEAR_NAMED = 48.0
NEAR_FITTED = 32.0
# Share of the picture that must be near for a fit; below it the clip shows some other background.
MIN_NEAR = 0.2
MAX_FIT_FRAMES = 6
FIT_STRIDE_PX = 2


@dataclass(frozen=True)
class Backdrop:
    """What lies behind the objects.

    Attributes:
        name: the nearest named background.
        image: float32 `[h w c]`, the fitted background, 0 to 255, without its texture.
        confidence: 0 to 1, from how much nearer the clip is to this name than to the next.
    """

    name: str
    image: np.ndarray
    confidence: float


def read_backdrop(frames: np.ndarray, names: tuple[str, ...]) -> Backdrop:
    """Name and fit the background of float32 `frames` `[t h w c]` (0 to 255).

    The name is the one whose picture most pixels are near; distances saturate, so an object that
    covers a third of the picture counts no more than its area. The image is a colour plane fitted
    to the pixels that are near, so that a background of the wrong tint still separates. Where
    these are uneven the background is a texture, and named by its pattern.
    """
    num_frames, height, width, _ = frames.shape
    moments = np.linspace(0, num_frames - 1, min(num_frames, MAX_FIT_FRAMES)).astype(int)
    grid = np.s_[::FIT_STRIDE_PX, ::FIT_STRIDE_PX]
    picked = frames[moments][:, *grid]
    pictures = [_even(name, height, width) for name in names]
    offs = [np.minimum(colour_distance(picked, picture[grid]), FAR).mean() for picture in pictures]
    order = np.argsort(offs)
    best, runner_up = offs[order[0]], offs[order[min(1, len(names) - 1)]]

    image = pictures[order[0]]
    basis = _plane_basis(height, width)
    for reach in (NEAR_NAMED, NEAR_FITTED):
        near = colour_distance(picked, image[grid]) < reach
        if near.mean() < MIN_NEAR:
            break
        image = basis @ _fit_plane(picked, near, basis[grid])
    name = names[order[0]]
    textures = tuple(name for name in names if name in TEXTURES)
    if textures:
        uneven = _is_uneven(frames[moments], image)
        likely = [names[i] for i in order if (names[i] in TEXTURES) == uneven]
        name = likely[0]
        best, runner_up = 0.0, 1.0
        if uneven:
            offset, near = texture_of(frames[moments[:1]], image)
            name = name_texture(offset[0], near[0], textures)
    return Backdrop(name, image, float(1 - best / max(runner_up, 1e-6)))


def texture_of(frames: np.ndarray, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a texture adds to an even `image`, in levels, and where no object is, `[t h w]`."""
    near = colour_distance(frames, image) < NEAR_FITTED
    return (frames - image).mean(axis=-1), near


def _is_uneven(frames: np.ndarray, image: np.ndarray) -> bool:
    distance = colour_distance(frames, image)
    near = distance[distance < NEAR_FITTED]
    return bool(near.size and np.median(near) > MIN_SPREAD)


def _even(name: str, height: int, width: int) -> np.ndarray:
    """The background without its texture, float32 `[h w c]`."""
    if name in TEXTURES:
        return np.full((height, width, 3), TEXTURES[name].tint, np.float32)
    return render_background(name, height, width).astype(np.float32)


def colour_distance(frames: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Euclidean RGB distance of `frames` `[... c]` to `colours`, which broadcast against them."""
    offset = frames - colours
    return np.sqrt(np.einsum("...c,...c->...", offset, offset))


def _plane_basis(height: int, width: int) -> np.ndarray:
    """(1, x, y) at every pixel, float32 `[h w 3]`, x and y from -1 to 1."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.stack((np.ones_like(x), x, y), axis=-1).astype(np.float32)


def _fit_plane(frames: np.ndarray, near: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Least squares `[3 c]` of colour on `basis` `[h w 3]` over the pixels in `near` `[t h w]`."""
    weighted = basis * near.sum(axis=0, dtype=np.float32)[..., None]
    total = np.einsum("thw,thwc->hwc", near.astype(np.float32), frames)
    return np.linalg.solve(
        np.einsum("hwi,hwj->ij", basis, weighted), np.einsum("hwi,hwc->ic", basis, total)
    ).astype(np.float32)
