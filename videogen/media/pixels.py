"""Between RGB arrays and libav's 4:2:0 frames: BT.709, limited range, any size.

4:2:0 stores colour once per 2 x 2 pixels, so its sides are even. H.264 and HEVC can only crop whole
colour samples and PyAV cannot write MP4's clean-aperture box, so a frame of odd size (or below the
codec's smallest) is padded by repeating its last row and column, and the true size goes into the
file's metadata under `SIZE_KEY`. Our readers crop to it; other players show up to one extra row and
column.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import av
import numpy as np
from av.video.reformatter import (
    ColorPrimaries,
    ColorRange,
    Colorspace,
    ColorTrc,
    Interpolation,
    VideoReformatter,
)

SIZE_KEY = "videogen_size"
# Without these two flags swscale takes shortcuts that differ between processors.
_EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


def padded_side(side_px: int, min_side_px: int) -> int:
    """The even side, at least `min_side_px`, that a frame of `side_px` is stored with."""
    return max(side_px + side_px % 2, min_side_px)


def size_metadata(height: int, width: int, min_side_px: int) -> dict[str, str]:
    """What to store so that a reader recovers the true size; empty where nothing is padded."""
    if (padded_side(height, min_side_px), padded_side(width, min_side_px)) == (height, width):
        return {}
    return {SIZE_KEY: f"{width}x{height}"}


def true_size(
    stored: tuple[int, int], metadata: Mapping[str, str], min_side_px: int
) -> tuple[int, int]:
    """Undo `size_metadata`: (height, width) without padding.

    A note that does not fit the stored size is left from before somebody rescaled the file.
    """
    note = re.fullmatch(r"(\d{1,5})x(\d{1,5})", metadata.get(SIZE_KEY, ""))
    if note is None:
        return stored
    height, width = int(note[2]), int(note[1])
    padded = padded_side(height, min_side_px), padded_side(width, min_side_px)
    return (height, width) if padded == stored and height and width else stored


class RgbToYuv:
    """Turns RGB arrays `h w c` into BT.709 limited-range frames of the padded size."""

    def __init__(self, min_side_px: int, pixel_format: str) -> None:
        self._min_side_px = min_side_px
        self._pixel_format = pixel_format
        self._swscale = VideoReformatter()

    def __call__(self, rgb: np.ndarray) -> av.VideoFrame:
        return self._swscale.reformat(
            av.VideoFrame.from_ndarray(self._pad(rgb), format="rgb24"),
            format=self._pixel_format,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            dst_colorspace=Colorspace.ITU709,
            dst_color_primaries=ColorPrimaries.BT709,
            dst_color_trc=ColorTrc.BT709,
            interpolation=_EXACT,
            threads=1,
        )

    def _pad(self, rgb: np.ndarray) -> np.ndarray:
        height, width, _ = rgb.shape
        below = padded_side(height, self._min_side_px) - height
        right = padded_side(width, self._min_side_px) - width
        if below or right:
            return np.pad(rgb, ((0, below), (0, right), (0, 0)), mode="edge")
        return np.ascontiguousarray(rgb)


class YuvToRgb:
    """Turns decoded frames into RGB arrays `h w c`, by the matrix and range of their tags.

    swscale's plain conversion, because it is the one inside decord: both give the same values.
    """

    def __init__(self, height: int, width: int) -> None:
        self._height, self._width = height, width
        self._swscale = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        rgb = self._swscale.reformat(frame, format="rgb24", threads=1).to_ndarray()
        return rgb[: self._height, : self._width]
