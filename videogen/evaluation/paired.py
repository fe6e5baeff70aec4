"""`ref.*`: a clip against its own reference, frame by frame: PSNR and SSIM."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest

import cv2
import numpy as np

from videogen.errors import MediaError
from videogen.evaluation.metric import Score

PSNR_OF_EQUAL_DB = 100.0


class PairedScores:
    """Streams two clips of the same size past each other."""

    def __init__(self) -> None:
        self._mse: list[float] = []
        self._ssim: list[float] = []

    def add(self, frames: np.ndarray, reference: np.ndarray) -> None:
        """Take the next frames of both, uint8 `t h w c`, as many of each.

        Raises:
            MediaError: their shapes differ.
        """
        if frames.shape != reference.shape or frames.dtype != np.uint8:
            raise MediaError(
                f"paired clips: got {frames.dtype} {frames.shape} and {reference.shape}, expected "
                "uint8 of one shape. Fix: pair clips of the same size and length."
            )
        for one, other in zip(frames, reference, strict=True):
            self._mse.append(float(np.square(one.astype(np.float64) - other).mean()))
            self._ssim.append(ssim(one, other))

    def finish(self) -> dict[str, Score]:
        """`ref.psnr` in dB (over all pixels; equal clips get 100) and `ref.ssim`, with curves.

        Raises:
            MediaError: there were no frames.
        """
        if not self._mse:
            raise MediaError("paired clips: got no frames, expected at least one of each.")
        mse = np.array(self._mse)
        return {
            "ref.psnr": Score(float(_psnr(mse.mean())), _psnr(mse)),
            "ref.ssim": Score(float(np.mean(self._ssim)), np.array(self._ssim)),
        }


def compare_clips(
    frames: Iterable[np.ndarray], reference: Iterable[np.ndarray]
) -> dict[str, Score]:
    """Score two clips that come in portions of any size, frame by frame.

    Raises:
        MediaError: one has more frames than the other, or frames of another size.
    """
    scores = PairedScores()
    pairs = zip_longest(_single(frames), _single(reference))
    for one, other in pairs:
        if one is None or other is None:
            raise MediaError(
                "paired clips: got one that is longer than the other, expected as many frames. "
                "Fix: pair clips of the same size and length."
            )
        scores.add(one, other)
    return scores.finish()


def _single(portions: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    for portion in portions:
        for index in range(len(portion)):
            yield portion[index : index + 1]


def _psnr(mse: np.ndarray) -> np.ndarray:
    ceiling = 255.0**2 / 10 ** (PSNR_OF_EQUAL_DB / 10)
    return 10 * np.log10(255.0**2 / np.maximum(mse, ceiling))


def ssim(one: np.ndarray, other: np.ndarray) -> float:
    """Structural similarity (Wang et al., 2004) of two images uint8 `h w c`, mean over channels.

    Gaussian window of 11 px, sigma 1.5, as in the paper; no border is cropped.
    """
    x, y = one.astype(np.float64), other.astype(np.float64)
    mean_x, mean_y = _window(x), _window(y)
    var_x, var_y = _window(x * x) - mean_x**2, _window(y * y) - mean_y**2
    covariance = _window(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    light = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (var_x + var_y + c2)
    return float((light * structure).mean())


def _window(image: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(image, (11, 11), 1.5)
