"""Names the pattern of a background by comparing one frame with each pattern at several sizes."""

from functools import lru_cache

import numpy as np

from videogen.shapes.patterns import PATTERNS, PERIODS
from videogen.shapes.vocabulary import TEXTURES

# How far the pixels of a texture are from their mean at least, in 8-bit RGB levels.
MIN_SPREAD = 14.0
# Sizes of the pattern that are tried, relative to that of a camera at rest.
SIZES = np.exp2(np.linspace(-0.45, 0.45, 10))


def name_texture(texture: np.ndarray, visible: np.ndarray, names: tuple[str, ...]) -> str:
    """The texture whose pattern explains one frame best, wherever it starts.

    Args:
        texture: float32 `[h w]`, what the pattern adds to an even background.
        visible: bool `[h w]`, where no object covers it.
        names: textures to choose from, each with another pattern.
    """
    height, width = texture.shape
    # Room for the picture anywhere in a period of the largest size.
    side_px = max(height, width) + int(np.ceil(SIZES[-1] * min(height, width) / PERIODS))
    picture = np.zeros((side_px, side_px), np.float32)
    picture[:height, :width] = np.where(visible, texture - texture[visible].mean(), 0)
    spectrum = np.conj(np.fft.rfft2(picture))
    reach = (side_px - height + 1, side_px - width + 1)
    scores = {}
    for name in names:
        tiles = _tiles(TEXTURES[name].pattern, side_px, min(height, width) / PERIODS)
        matches = np.fft.irfft2(tiles * spectrum, s=(side_px, side_px))
        scores[name] = matches[:, : reach[0], : reach[1]].max()
    return max(scores, key=scores.__getitem__)


@lru_cache(maxsize=16)
def _tiles(pattern: str, side_px: int, period_px: float) -> np.ndarray:
    """Spectra of large pieces of a pattern at all SIZES, each with mean 0 and spread 1."""
    tiles = []
    for size in SIZES:
        places = (np.arange(side_px) + 0.5) / (period_px * size)
        marks = PATTERNS[pattern](places[None], places[:, None], np.array(period_px * size))
        marks = np.broadcast_to(marks, (side_px, side_px))
        tiles.append((marks - marks.mean()) / marks.std())
    return np.fft.rfft2(np.array(tiles))
