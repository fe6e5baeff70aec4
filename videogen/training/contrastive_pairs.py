"""Batches of clips and captions for contrastive training, each from its step's number alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from videogen.models.text import split_words
from videogen.models.text_video_frames import clip_tensor
from videogen.shapes.captions import caption
from videogen.shapes.render import render
from videogen.shapes.scene import Scene, Split
from videogen.shapes.vocabulary import WORLDS
from videogen.training.clips import numbered_scene
from videogen.training.contrastive_config import ContrastiveTrainConfig
from videogen.training.contrastive_meaning import is_true_of
from videogen.training.contrastive_negatives import KINDS, altered
from videogen.training.prompts import MAX_INSERTED_WORDS, UNKNOWN_WORD, vocabulary_of

NUM_CAPTIONS = 5000
"""In which every word is found; the rarest are in one of a hundred."""
LATEST_START = 8
WIDEST = 16 / 9


@dataclass(frozen=True)
class PairBatch:
    """Clips, made where they are used, and captions.

    Attributes:
        clips: those at some places, `b t c h w` in [-1, 1], undisturbed.
        captions: the first `b` belong to the clips in order; the others are negatives only.
        also_true: bool `b captions`, pairs besides a clip's own whose caption is true as well.
    """

    clips: Callable[[range], Tensor]
    captions: list[str]
    also_true: Tensor

    def __len__(self) -> int:
        return len(self.also_true)

    def texts_at(self, places: range) -> list[int]:
        """The captions of these clips, and their share of the others."""
        b, others = len(self), len(self.captions) - len(self)
        start, stop = (b + others * end // b for end in (places.start, places.stop))
        return [*places, *range(start, stop)]


class PairSource(Protocol):
    """Where batches come from."""

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every word of its captions, sorted."""
        ...

    def draw(self, step: int, count: int) -> PairBatch:
        """The batch of a step, the same whenever it is asked for."""
        ...

    def held_out(self, count: int) -> PairBatch:
        """Clips that are never drawn, or as few of the others as there can be."""
        ...


class RenderedPairs:
    """Scenes of the shapes' world with a caption each, and captions that are nearly right."""

    def __init__(self, config: ContrastiveTrainConfig) -> None:
        self._config = config
        self._seed = config.schedule.seed

    @property
    def vocabulary(self) -> tuple[str, ...]:
        return vocabulary_of(self._config.worlds, NUM_CAPTIONS)

    def draw(self, step: int, count: int) -> PairBatch:
        """Clips `step * count` and on, none of them of a held-out combination."""
        rng = np.random.default_rng([self._seed, step, 1])
        return self._batch(range(step * count, (step + 1) * count), "train", rng, usual=False)

    def held_out(self, count: int) -> PairBatch:
        """Clips of combinations that are not drawn in training, all of the usual length."""
        return self._batch(range(count), "held_out", np.random.default_rng(0), usual=True)

    def _batch(
        self, indices: Sequence[int], split: Split, rng: np.random.Generator, usual: bool
    ) -> PairBatch:
        config = self._config
        scenes = [numbered_scene(self._seed + 1, i, config.worlds, split) for i in indices]
        texts: list[str] = []
        nearly: list[str] = []
        for scene in scenes:
            seed = int(rng.integers(2**32))
            texts.append(caption(scene, np.random.default_rng(seed)))
            nearly += self._nearly_right(scene, seed, rng)
        true = is_true_of([*texts, *nearly], scenes)
        np.fill_diagonal(true, False)
        ways = [_way(config, rng, usual) for _ in scenes]
        said = [*texts, *nearly]
        if not usual:
            said = [_disturbed(text, config.unknown_words, rng) for text in said]

        def clips(places: range) -> Tensor:
            rendered = [render(scenes[place], *ways[place]) for place in places]
            return clip_tensor(rendered, config.encoder.num_frames, config.encoder.size)

        return PairBatch(clips, said, torch.from_numpy(true))

    def _nearly_right(self, scene: Scene, seed: int, rng: np.random.Generator) -> list[str]:
        """Captions of scenes that differ in one thing, phrased as the scene's own."""
        world = WORLDS["wide"]
        kinds = rng.permutation(KINDS)
        scenes = [altered(scene, str(kind), world, rng) for kind in kinds]
        found = [other for other in scenes if other is not None][: self._config.hard_negatives]
        return [caption(other, np.random.default_rng(seed)) for other in found]


def _way(
    config: ContrastiveTrainConfig, rng: np.random.Generator, usual: bool
) -> tuple[int, int, int, int]:
    """Length, height, width and start of a clip; sometimes unusual ones."""
    length, start, size = config.usual_frames, 0, config.encoder.size
    height = width = size
    if not usual and rng.random() < config.unusual_share:
        length = int(rng.integers(config.num_frames[0], config.num_frames[1] + 1))
        start = int(rng.integers(LATEST_START + 1))
        longer = round(size * rng.uniform(1, WIDEST))
        height, width = (size, longer) if rng.random() < 0.75 else (longer, size)
    return length, height, width, start


def _disturbed(text: str, share: float, rng: np.random.Generator) -> str:
    """The text, sometimes with unknown words in between."""
    if rng.random() >= share:
        return text
    words = split_words(text)
    for _ in range(int(rng.integers(1, MAX_INSERTED_WORDS + 1))):
        words.insert(int(rng.integers(len(words) + 1)), UNKNOWN_WORD)
    return " ".join(words)
