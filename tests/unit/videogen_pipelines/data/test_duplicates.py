"""Near copies: found by pigeonhole exactly as by comparing all with all."""

from __future__ import annotations

import numpy as np

from tests.unit.videogen_pipelines.data.conftest import scene
from videogen_pipelines.data.duplicates import Originals
from videogen_pipelines.data.fingerprint import BITS, Fingerprint, sampled


def fingerprint(frames: np.ndarray, portion: int = 5) -> str:
    found = Fingerprint(len(frames))
    for start in range(0, len(frames), portion):
        found.add(frames[start : start + portion])
    return found.finish()


def hexed(bits: np.ndarray, colours: np.ndarray) -> str:
    return np.packbits(bits).tobytes().hex() + colours.tobytes().hex()


def test_none_is_missed_and_none_is_too_many():
    dice = np.random.default_rng(0)
    near = 16
    grey = np.full(48, 128, np.uint8)
    originals = Originals(near)
    base = dice.integers(0, 2, (60, BITS), dtype=np.uint8)
    for index, bits in enumerate(base):
        originals.add(f"o{index}", f"sha{index}", hexed(bits, grey))
    for trial in range(400):
        source = int(dice.integers(len(base)))
        distance = int(dice.integers(0, 2 * near))
        bits = base[source].copy()
        bits[dice.choice(BITS, distance, replace=False)] ^= 1
        copy = originals.copy_of(f"other{trial}", hexed(bits, grey))
        assert (copy is not None) == (distance <= near), distance
        if copy is not None:
            assert (copy.of, copy.reason) == (f"o{source}", f"{distance} of 256 bits differ")


def test_shapes_that_differ_in_colour_are_no_copies():
    red, blue = np.zeros((2, 12, 48, 48, 3), np.uint8) + 128
    for frames, channel in ((red, 0), (blue, 2)):
        frames[:, 10:24, 10:24] = 90
        frames[:, 10:24, 10:24, channel] = 235
    originals = Originals(16)
    originals.add("red", "1", fingerprint(red))
    assert originals.copy_of("2", fingerprint(blue)) is None
    assert originals.copy_of("3", fingerprint(red)) is not None


def test_scaling_and_noise_change_little_and_another_scene_much():
    import cv2

    one, other = scene(1), scene(2)
    larger = np.stack([cv2.resize(frame, (80, 80)) for frame in one])
    noise = np.random.default_rng(0).normal(0, 3, one.shape)
    noisy = np.clip(one + noise, 0, 255).astype(np.uint8)
    originals = Originals(16)
    originals.add("one", "1", fingerprint(one))
    assert originals.copy_of("2", fingerprint(larger)) is not None
    assert originals.copy_of("3", fingerprint(noisy)) is not None
    assert originals.copy_of("4", fingerprint(other)) is None


def test_the_same_bytes_are_a_copy_even_if_nobody_looks():
    originals = Originals(0)
    originals.add("one", "1", "")
    copy = originals.copy_of("1", "")
    assert copy is not None
    assert copy.of == "one"


def test_frames_come_in_any_portions_and_are_spread_over_the_clip():
    assert sampled(8) == (1, 3, 5, 7)
    frames = scene(3, 17)
    assert fingerprint(frames, 1) == fingerprint(frames, 100)
    short = Fingerprint(30)
    short.add(frames)
    assert short.finish() == ""
