"""Does the clip show what the prompt says? The judge of `videogen.shapes` reads it back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from videogen.evaluation.window import Window
from videogen.shapes import EVERYTHING, WORDS, WORLDS, World, parse_caption, split_words
from videogen.shapes.judge import MIN_FRAMES, WORKING_SIDE_PX, agrees, judge

KNOWN_SHARE = 0.75
MAX_FRAMES = 64
"""The judge sees the beginning of a clip, so that memory stays flat."""


class AdherenceProbe:
    """Keeps the first frames, reduced to the judge's working size, and judges them at the end."""

    columns = ()
    delay_lags = 0

    def __init__(self, prompt: str | None) -> None:
        self._wanted = readable(prompt)
        self._frames: list[np.ndarray] = []

    def measure(self, window: Window) -> Mapping[str, float]:
        if self._wanted and len(self._frames) < MAX_FRAMES:
            self._frames.append(_reduce(window.now.native))
        return {}

    def conclude(self) -> Mapping[str, Any]:
        """`adherence`: per attribute the prompt names, whether the clip shows it."""
        if not self._wanted or len(self._frames) < MIN_FRAMES:
            return {}
        reading = judge(np.stack(self._frames), world_of(self._wanted))
        verdict = agrees(reading, self._wanted)
        read = {key: getattr(reading, key) for key in self._wanted}
        return {"adherence": {key: verdict[key] for key in self._wanted}, "read": read}


def readable(prompt: str | None) -> dict[str, str]:
    """The attributes a prompt asks for; empty unless it is about a shape the judge knows.

    "A heart-shaped cake on a table" names a shape too: most words have to be of the shapes' world.
    """
    words = split_words(prompt) if prompt else []
    known = sum(word in WORDS for word in words)
    if not prompt or known < KNOWN_SHARE * len(words):
        return {}
    asked = {key: value for key, value in parse_caption(prompt).items() if value is not None}
    return asked if "shape" in asked else {}


def world_of(wanted: Mapping[str, str]) -> World:
    """The smallest world that has all the names; fewer names make the judge surer."""
    return next((world for world in WORLDS.values() if _holds(world, wanted)), EVERYTHING)


def _holds(world: World, wanted: Mapping[str, str]) -> bool:
    names = {
        "colour": world.colours,
        "shape": world.shapes,
        "motion": world.motions,
        "background": world.backgrounds,
        "camera": world.cameras,
    }
    return all(value in names[key] for key, value in wanted.items())


def _reduce(frame: np.ndarray) -> np.ndarray:
    """Average whole blocks of pixels, as the judge itself does with larger clips."""
    height, width = frame.shape[:2]
    block = max(1, min(height, width) // WORKING_SIDE_PX)
    if block == 1:
        return frame
    rows, columns = height // block, width // block
    cropped = frame[: rows * block, : columns * block]
    return cv2.resize(cropped, (columns, rows), interpolation=cv2.INTER_AREA)
