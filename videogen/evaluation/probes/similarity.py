"""How near a clip is to its prompt, by the text-video encoder of this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from videogen.evaluation.backends.text_video import TextVideoReader, Vectors, shipped_reader
from videogen.evaluation.window import Window

STRETCH_S = 17 / 12
"""The encoder looks at stretches of this length, which is that of the clips it learned from."""


@dataclass(frozen=True)
class Stretch:
    """A stretch of a clip against its prompt.

    Attributes:
        first, end: frames `first` to `end - 1`.
        cosine: between the vectors of stretch and prompt.
        lead: by kind, how much nearer the prompt is than each prompt that is nearly it, `[n]`.
    """

    first: int
    end: int
    cosine: float
    lead: dict[str, np.ndarray]


class SimilarityProbe:
    """Keeps small copies of the frames of one stretch, and of a stretch a few numbers."""

    columns = ()
    delay_lags = 0

    def __init__(
        self, prompt: str | None, fps: float, reader: TextVideoReader | None = None
    ) -> None:
        self._reader = reader or shipped_reader()
        self._vectors: Vectors | None = None
        if prompt and self._reader.knows(prompt):
            self._vectors = self._reader.read(prompt)
        config = self._reader.spec.encoder
        self._size = config.size
        self._length = max(config.num_frames, round(STRETCH_S * fps))
        self._frames: list[np.ndarray] = []
        self._found: list[Stretch] = []
        self._count = 0

    def measure(self, window: Window) -> Mapping[str, float]:
        if self._vectors is not None:
            self._frames.append(_small(window.now.native, self._size))
            self._count += 1
            if len(self._frames) == self._length:
                self._found.append(self._compare(self._vectors))
                self._frames.clear()
        return {}

    def conclude(self) -> Mapping[str, Any]:
        """`similarity`: a list of `Stretch`; frames after the last whole one do not count."""
        if self._vectors is None:
            return {}
        found = self._found or [self._compare(self._vectors)]
        return {"similarity": found, "similarity_weights": self._reader.sha256}

    def _compare(self, vectors: Vectors) -> Stretch:
        clip = self._reader.watch(np.stack(self._frames))
        cosine = float(clip @ vectors.prompt)
        lead = {kind: cosine - others @ clip for kind, others in vectors.nearly.items()}
        return Stretch(self._count - len(self._frames), self._count, cosine, lead)


def _small(frame: np.ndarray, size: int) -> np.ndarray:
    """The whole picture as a small square, uint8 `h w c`."""
    if frame.shape[:2] == (size, size):
        return frame
    shrinks = min(frame.shape[:2]) >= size
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(frame, (size, size), interpolation=how)
