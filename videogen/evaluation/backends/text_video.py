"""The text-video encoder of this package, as metrics ask it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from videogen.evaluation.swaps import swapped
from videogen.models.text_video_spec import SHIPPED, TextVideoSpec, read_text_video_spec
from videogen.shapes.mentions import split_words

if TYPE_CHECKING:
    from videogen.models.text_video import TextVideoEncoder

_SAYING_NOTHING = (
    "a an and are as at by can for from has have in into is it its of on or that the there this "
    "to we which while with"
)
FUNCTION_WORDS = frozenset(split_words(_SAYING_NOTHING))
"""Words without which a prompt says the same; the encoder need not know them."""


@dataclass(frozen=True)
class Vectors:
    """Unit vectors of a prompt, float32 `[d]`, and of prompts nearly like it, `[n d]` by kind."""

    prompt: np.ndarray
    nearly: dict[str, np.ndarray]


class TextVideoReader:
    """An encoder from a folder. Nothing but its description is read until it is asked something.

    Raises:
        ConfigError: the description is wrong.
        WeightsError: when asked, the weights are not those of the description.
    """

    def __init__(self, folder: Path = SHIPPED) -> None:
        self.folder = folder
        self.spec: TextVideoSpec = read_text_video_spec(folder)
        self._vocabulary = frozenset(self.spec.vocabulary)

    @property
    def sha256(self) -> str:
        """Of the description, which holds that of the weights."""
        return self.spec.digest

    def knows(self, prompt: str | None) -> bool:
        """Whether it knows every word of a prompt, and the prompt says something.

        It cannot tell an adjective from a noun it never saw, so one unknown word is too many; and
        so are more words than it can read.
        """
        words = split_words(prompt or "")
        telling = [word for word in words if word not in FUNCTION_WORDS]
        fits = len(words) < self.spec.encoder.text.max_tokens  # the first token is the start
        return bool(telling) and fits and self._vocabulary.issuperset(telling)

    def read(self, prompt: str) -> Vectors:
        """Vectors of a prompt it knows."""
        nearly = swapped(prompt, self._vocabulary)
        vectors = _encode_text(
            self.folder, [prompt, *(t for texts in nearly.values() for t in texts)]
        )
        ends = np.cumsum([1, *(len(texts) for texts in nearly.values())])
        parts = np.split(vectors, ends[:-1])
        return Vectors(vectors[0], dict(zip(nearly, parts[1:], strict=True)))

    def watch(self, frames: np.ndarray) -> np.ndarray:
        """A unit vector, float32 `[d]`, of a clip, uint8 `t h w c`."""
        return _encode_clip(self.folder, frames)


@cache
def shipped_reader() -> TextVideoReader:
    """The one in this package, read once in a process."""
    return TextVideoReader()


@cache
def _encoder(folder: Path) -> TextVideoEncoder:
    from videogen.models.text_video_folder import load_text_video

    return load_text_video(folder)[0]


def _encode_text(folder: Path, prompts: Sequence[str]) -> np.ndarray:
    import torch

    with torch.inference_mode():
        return _encoder(folder).encode_text(prompts).numpy()


def _encode_clip(folder: Path, frames: np.ndarray) -> np.ndarray:
    import torch

    from videogen.models.text_video_frames import clip_tensor

    encoder = _encoder(folder)
    config = encoder.config
    with torch.inference_mode():
        return encoder.encode_video(clip_tensor([frames], config.num_frames, config.size))[
            0
        ].numpy()
