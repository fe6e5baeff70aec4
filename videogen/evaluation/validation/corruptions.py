"""Graded ways to spoil a clip. Frames are uint8 `t h w c`; the same seed spoils the same way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from videogen.evaluation.frames import FrameView

GRADES = (1, 2, 3, 4)
Spoil = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Corruption:
    """One way to spoil a clip.

    Attributes:
        amounts: the strength of grades 1 to 4.
        caught_by: the metric that has to see it.
        unit: what the amounts mean.
    """

    name: str
    spoil: Spoil
    amounts: tuple[float, float, float, float]
    caught_by: str
    unit: str

    def apply(self, frames: np.ndarray, grade: int, seed: int) -> np.ndarray:
        """Spoil a clip at a grade from 1 to 4; grade 0 is the clip itself."""
        if grade == 0:
            return frames
        rng = np.random.default_rng([seed, len(self.name), sum(map(ord, self.name))])
        return self.spoil(frames, self.amounts[grade - 1], rng)


def _bytes(frames: np.ndarray) -> np.ndarray:
    return np.clip(frames + 0.5, 0, 255).astype(np.uint8)


def flicker(frames: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    gain = 1 + amount * rng.standard_normal((len(frames), 1, 1, 1))
    return _bytes(frames * gain + 255 * (gain - 1) / 4)


def flicker_local(frames: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """A soft-edged spot of a third of the frame flickers."""
    height, width = frames.shape[1:3]
    y, x = np.mgrid[0:height, 0:width]
    cy, cx = rng.uniform(0.25, 0.75, 2)
    radius = np.hypot(y / height - cy, x / width - cx)
    spot = np.clip((0.35 - radius) / 0.05, 0, 1)[None, :, :, None]
    gain = amount * rng.standard_normal((len(frames), 1, 1, 1)) * spot
    return _bytes(frames * (1 + gain) + 64 * gain)


def shuffle(frames: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """`amount` of the frames change places among themselves."""
    count = max(2, round(amount * len(frames)))
    places = np.sort(rng.choice(len(frames), count, replace=False))
    order = np.arange(len(frames))
    order[places] = np.roll(places, 1) if count < 4 else rng.permutation(places)
    return frames[order]


def drop(frames: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """`amount` frames in a row are missing in the middle."""
    count = int(amount)
    start = int(rng.integers(len(frames) // 3, 2 * len(frames) // 3 - count // 2))
    return np.delete(frames, np.arange(start, start + count), axis=0)


def duplicate(frames: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """`amount` of the frames are replaced by the one before them."""
    count = max(1, round(amount * (len(frames) - 1)))
    order = np.arange(len(frames))
    for place in np.sort(1 + rng.choice(len(frames) - 1, count, replace=False)):
        order[place] = order[place - 1]
    return frames[order]


def freeze(frames: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """The last `amount` of the clip stands still."""
    last = max(0, len(frames) - 1 - max(1, round(amount * len(frames))))
    return frames[np.minimum(np.arange(len(frames)), last)]


def identity_swap(frames: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """From the middle on, what stands out changes its colour by a turn of the hue."""
    spoiled = frames.copy()
    angle = np.deg2rad(amount) * rng.choice((-1, 1))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32)
    for t in range(len(frames) // 2, len(frames)):
        spoiled[t] = _turn_hue(frames[t], turn, 30.0 * amount / 180)
    return spoiled


def _turn_hue(frame: np.ndarray, turn: np.ndarray, darker: float) -> np.ndarray:
    height, width = frame.shape[:2]
    weight = FrameView(0, frame, min(height, width)).segmentation.weight
    weight = cv2.resize(weight, (width, height))[..., None]
    lab = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    turned = lab.copy()
    turned[..., 1:] = lab[..., 1:] @ turn.T
    turned[..., 0] += np.where(lab[..., 0] > 50, -darker, darker)
    mixed = lab + weight * (turned - lab)
    return _bytes(255 * np.clip(cv2.cvtColor(mixed, cv2.COLOR_LAB2RGB), 0, 1))


def jump_cut(frames: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """From a frame near the middle on, the picture is displaced by `amount` of its width."""
    start = int(rng.integers(len(frames) // 3, 2 * len(frames) // 3))
    shift = round(amount * frames.shape[2]) * int(rng.choice((-1, 1)))
    spoiled = frames.copy()
    spoiled[start:] = np.roll(frames[start:], (shift, shift), axis=(1, 2))
    return spoiled


def noise(frames: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    return _bytes(frames + amount * rng.standard_normal(frames.shape, np.float32))


def color_drift(frames: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Colour moves along a random line by `amount` grey levels until the end."""
    direction = rng.standard_normal(3)
    direction /= np.linalg.norm(direction)
    ramp = np.linspace(0, amount, len(frames))[:, None, None, None]
    return _bytes(frames + ramp * direction * np.sqrt(3))


def blur_drift(frames: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Blur grows to `amount` of the shorter side."""
    sigmas = np.linspace(0, amount * min(frames.shape[1:3]), len(frames))
    return np.stack([_blur(f, s) for f, s in zip(frames, sigmas, strict=True)])


def _blur(frame: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(frame, (0, 0), float(sigma)) if sigma > 0.05 else frame


def saturation_drift(frames: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Colours fade to 1 - `amount` of their saturation."""
    grey = frames.mean(axis=3, keepdims=True)
    keep = 1 - np.linspace(0, amount, len(frames))[:, None, None, None]
    return _bytes(grey + keep * (frames - grey))


def seam(frames: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Every second chunk between `boundaries_of(len(frames))` is brighter by `amount` levels."""
    chunk = np.searchsorted(boundaries_of(len(frames)), np.arange(len(frames)), side="right")
    tint = 1 + 0.3 * rng.standard_normal(3)
    return _bytes(frames + (amount * (chunk % 2))[:, None, None, None] * tint)


def boundaries_of(num_frames: int) -> tuple[int, ...]:
    """Where the validation takes a clip's chunks to begin: every quarter, four frames at least."""
    step = max(4, num_frames // 4)
    return tuple(range(step, num_frames - 1, step))


def jitter(frames: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Every frame is displaced at random by about `amount` of the shorter side."""
    spread = amount * min(frames.shape[1:3])
    moves = np.rint(spread * rng.standard_normal((len(frames), 2))).astype(int)
    return np.stack([np.roll(f, tuple(m), (0, 1)) for f, m in zip(frames, moves, strict=True)])


CORRUPTIONS: tuple[Corruption, ...] = (
    Corruption("flicker", flicker, (0.01, 0.03, 0.08, 0.2), "flicker.luma", "gain"),
    Corruption("flicker_local", flicker_local, (0.02, 0.05, 0.12, 0.3), "flicker.local", "gain"),
    Corruption("shuffle", shuffle, (0.1, 0.25, 0.5, 1.0), "motion.smoothness", "share"),
    Corruption("drop", drop, (1, 2, 3, 5), "motion.skip", "frames"),
    Corruption("duplicate", duplicate, (0.1, 0.2, 0.35, 0.5), "motion.freeze", "share"),
    Corruption("freeze", freeze, (0.15, 0.3, 0.5, 0.8), "motion.freeze", "share"),
    Corruption("identity_swap", identity_swap, (30, 60, 110, 180), "consistency.subject", "°"),
    Corruption("jump_cut", jump_cut, (0.05, 0.1, 0.2, 0.4), "cut.jump", "width"),
    Corruption("noise", noise, (2, 5, 12, 30), "frame.noise", "levels"),
    Corruption("color_drift", color_drift, (4, 10, 20, 40), "drift.color", "levels"),
    Corruption("blur_drift", blur_drift, (0.005, 0.01, 0.02, 0.04), "drift.sharpness", "side"),
    Corruption(
        "saturation_drift", saturation_drift, (0.2, 0.4, 0.6, 0.9), "drift.saturation", "share"
    ),
    Corruption("seam", seam, (2, 5, 12, 30), "seam.step", "levels"),
    Corruption("jitter", jitter, (0.01, 0.02, 0.04, 0.08), "motion.smoothness", "side"),
)
