"""Names the pattern of a background by comparing one frame with each pattern at several sizes."""

from functools import lru_cache

import numpy as np

from videogen.shapes.patterns import PATTERNS, PERIODS
from videogen.shapes.vocabulary import TEXTURES

# How far the pixels of a texture are from their mean at least, in 8-bit RGB levels.
MIN_SPREAD = 14.0
# Sizes of the pattern that are tried, relative to that of a camera at rest.
SIZES = np.exp2(np.linspace(-0.45, 0.45, 10))
TILE_PX = 128


def name_texture(texture: np.ndarray, visible: np.ndarray, names: tuple[str, ...]) -> str:
    """The texture whose pattern explains one frame best, wherever it starts.

    Args:
        texture: float32 `[h w]`, what the pattern adds to an even background.
        visible: bool `[h w]`, where no object covers it.
        names: textures to choose from, each with another pattern.
    """
    height, width = texture.shape
    picture = np.zeros((TILE_PX, TILE_PX), np.float32)
    picture[:height, :width] = np.where(visible, texture - texture[visible].mean(), 0)
    spectrum = np.conj(np.fft.rfft2(picture))
    reach = (TILE_PX - height + 1, TILE_PX - width + 1)
    scores = {}
    for name in names:
        tiles = _tiles(TEXTURES[name].pattern, min(height, width))
        matches = np.fft.irfft2(tiles * spectrum, s=(TILE_PX, TILE_PX))
        scores[name] = matches[:, : reach[0], : reach[1]].max()
    return max(scores, key=scores.__getitem__)


@lru_cache(maxsize=16)
def _tiles(pattern: str, side_px: int) -> np.ndarray:
    """Spectra of large pieces of a pattern at all SIZES, each with mean 0 and spread 1."""
    places = (np.arange(TILE_PX) + 0.5) / side_px * PERIODS
    tiles = []
    for size in SIZES:
        u, v = places[None] / size, places[:, None] / size
        marks = PATTERNS[pattern](u, v, np.array(side_px * size / PERIODS))
        marks = np.broadcast_to(marks, (TILE_PX, TILE_PX))
        tiles.append((marks - marks.mean()) / marks.std())
    return np.fft.rfft2(np.array(tiles))
