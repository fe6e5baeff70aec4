"""Clips that fool published metrics, made from a clean one; none may score as coherent."""

from __future__ import annotations

import cv2
import numpy as np


def frozen(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The first frame, over and over."""
    return np.repeat(frames[:1], len(frames), axis=0)


def black(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.zeros_like(frames)


def white_noise(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """New uniform noise on every frame."""
    return rng.integers(0, 256, frames.shape, dtype=np.uint8)


def frozen_noise(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The first frame under new grain on every frame."""
    grain = 12 * rng.standard_normal(frames.shape, np.float32)
    return np.clip(frames[:1] + grain + 0.5, 0, 255).astype(np.uint8)


def frozen_flicker(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The first frame at a new brightness on every frame."""
    gain = 1 + 0.2 * rng.standard_normal((len(frames), 1, 1, 1))
    return np.clip(frames[:1] * gain + 0.5, 0, 255).astype(np.uint8)


def frozen_fade(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The first frame, fading evenly to half its brightness."""
    gain = np.linspace(1, 0.5, len(frames))[:, None, None, None]
    return np.clip(frames[:1] * gain + 0.5, 0, 255).astype(np.uint8)


def frozen_wobble(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The first frame, shaken at random by a pixel or so."""
    moves = rng.integers(-2, 3, (len(frames), 2))
    return np.stack([np.roll(frames[0], tuple(move), (0, 1)) for move in moves])


IMPOSTORS = {
    function.__name__: function
    for function in (
        frozen,
        black,
        white_noise,
        frozen_noise,
        frozen_flicker,
        frozen_fade,
    )
}


def blurred(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All frames blurred."""
    sigma = 0.02 * min(frames.shape[1:3])
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])


def smoothed(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every frame the mean of five."""
    padded = np.concatenate([frames[:1]] * 2 + [frames] + [frames[-1:]] * 2).astype(np.float32)
    mean = np.stack([padded[i : i + len(frames)] for i in range(5)]).mean(axis=0)
    return (mean + 0.5).astype(np.uint8)


def slowed(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Four times slower, by blending neighbours; as long as the clip."""
    place = np.arange(len(frames)) / 4
    low = place.astype(int)
    share = (place - low)[:, None, None, None]
    after = frames[np.minimum(low + 1, len(frames) - 1)]
    return (frames[low] * (1 - share) + after * share + 0.5).astype(np.uint8)


COSMETICS = {function.__name__: function for function in (blurred, smoothed, slowed, frozen_wobble)}
"""Treatments that improve published metrics, or only imitate motion, and may not pay off."""
