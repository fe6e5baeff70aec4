"""Captions as a person might type them: dropped, with unknown words, or nothing but those."""

from __future__ import annotations

from functools import cache
from typing import Protocol

import numpy as np

from videogen.models.text import split_words
from videogen.shapes.captions import caption
from videogen.shapes.scene import Scene
from videogen.training.clips import numbered_scene

UNKNOWN_WORD = "zzz"
ONLY_UNKNOWN_SHARE = 0.3
MAX_INSERTED_WORDS = 4
MAX_NONSENSE_WORDS = 14


class PromptRates(Protocol):
    """The fields of a training configuration that say how captions are disturbed."""

    @property
    def caption_dropout(self) -> float: ...
    @property
    def unknown_words(self) -> float: ...


def training_prompt(scene: Scene, rng: np.random.Generator, config: PromptRates) -> str:
    """A caption of `scene`, empty or disturbed at the rates of `config`."""
    if rng.random() < config.caption_dropout:
        return ""
    text = caption(scene, rng)
    if rng.random() >= config.unknown_words:
        return text
    if rng.random() < ONLY_UNKNOWN_SHARE:
        return " ".join([UNKNOWN_WORD] * int(rng.integers(1, MAX_NONSENSE_WORDS)))
    words = split_words(text)
    for _ in range(int(rng.integers(1, MAX_INSERTED_WORDS + 1))):
        words.insert(int(rng.integers(len(words) + 1)), UNKNOWN_WORD)
    return " ".join(words)


@cache
def vocabulary_of(worlds: tuple[str, ...], num_captions: int = 20_000) -> tuple[str, ...]:
    """Every word of many captions of scenes from `worlds`, sorted."""
    words: set[str] = set()
    for index in range(num_captions):
        scene = numbered_scene(0, index, worlds, "all")
        words.update(split_words(caption(scene, np.random.default_rng([1, index]))))
    return tuple(sorted(words))
