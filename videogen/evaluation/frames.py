"""One frame seen as the probes need it: at the evaluation size, in grey and in LAB, made once."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np

from videogen.evaluation.subject import Segmentation, segment


def evaluation_shape(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width of a frame whose shorter side becomes `size` pixels."""
    scale = size / min(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """Average down or interpolate up an image `h w [c]`; itself when the size is right."""
    if frame.shape[:2] == (height, width):
        return frame
    shrinks = height * width < frame.shape[0] * frame.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(frame, (width, height), interpolation=how)


class FrameView:
    """Frame `index` of a clip.

    Args:
        native: uint8 `h w c`, RGB, as it came.
        size: shorter side of the evaluation size in pixels.
    """

    def __init__(self, index: int, native: np.ndarray, size: int) -> None:
        self.index = index
        self.native = native
        self.size = size

    @cached_property
    def rgb(self) -> np.ndarray:
        """uint8 `h w c` at the evaluation size."""
        height, width = self.native.shape[:2]
        return resize(self.native, *evaluation_shape(height, width, self.size))

    @cached_property
    def unit(self) -> np.ndarray:
        """float32 `h w c` in [0, 1] at the evaluation size."""
        return self.rgb.astype(np.float32) / 255

    @cached_property
    def grey(self) -> np.ndarray:
        """uint8 `h w` at the evaluation size."""
        return cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY)

    @cached_property
    def lab(self) -> np.ndarray:
        """CIE LAB, float32 `h w c` at half the evaluation size: L 0 to 100, a and b about ±100."""
        height, width = self.unit.shape[:2]
        small = resize(self.unit, max(1, height // 2), max(1, width // 2))
        return cv2.cvtColor(small, cv2.COLOR_RGB2LAB)

    @cached_property
    def segmentation(self) -> Segmentation:
        """What stands out, and what it stands on."""
        return segment(self.lab)
