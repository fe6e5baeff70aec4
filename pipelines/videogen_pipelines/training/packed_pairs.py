"""Clips and captions of packed shards, for contrastive training."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from videogen.errors import ConfigError, MediaError
from videogen.media import iter_video, probe
from videogen.models.text import split_words
from videogen.models.text_video_frames import even_places, fit_frames
from videogen.storage import local_copy, open_storage
from videogen.storage.temporary import temporary_folder
from videogen.training.contrastive_config import ContrastiveTrainConfig
from videogen.training.contrastive_pairs import PairBatch
from videogen_pipelines.data.shards import read_shard

HELD_OUT_EVERY = 10
FEWEST_CLIPS = 20


class PackedPairs:
    """A `PairSource` of the clips in `config.data`, kept in memory as the encoder reads them.

    One clip takes 55 kB at the default sizes. Every tenth clip is held out. Clips whose captions
    have the same words are never negatives of each other.

    Raises:
        ConfigError: there are no shards, or too few clips with captions.
        MediaError: a shard is damaged, or a clip in it.
    """

    def __init__(self, config: ContrastiveTrainConfig) -> None:
        self._seed = config.schedule.seed
        found = list(_clips(config))
        if len(found) < FEWEST_CLIPS:
            raise ConfigError(
                f"{config.data}: got {len(found)} clips with captions, expected {FEWEST_CLIPS} or "
                "more. Fix: pack more with 'videogen data pack'."
            )
        self._frames = [frames for frames, _ in found]
        self._captions = [caption for _, caption in found]
        self._said = [" ".join(split_words(caption)) for caption in self._captions]
        places = range(len(found))
        self._held_out = [i for i in places if i % HELD_OUT_EVERY == 0]
        self._drawn = [i for i in places if i % HELD_OUT_EVERY]

    @property
    def vocabulary(self) -> tuple[str, ...]:
        return tuple(sorted({word for text in self._said for word in text.split()}))

    def draw(self, step: int, count: int) -> PairBatch:
        """Different clips, as many as there are of `count`."""
        rng = np.random.default_rng([self._seed, step])
        chosen = rng.permutation(len(self._drawn))[:count]
        return self._batch([self._drawn[int(place)] for place in chosen])

    def held_out(self, count: int) -> PairBatch:
        """The first of the clips that are never drawn."""
        return self._batch(self._held_out[:count])

    def _batch(self, indices: list[int]) -> PairBatch:
        said = np.array([self._said[i] for i in indices], dtype=object)
        same = (said[:, None] == said[None]) & ~np.eye(len(indices), dtype=bool)
        captions = [self._captions[i] for i in indices]

        def clips(places: range) -> Tensor:
            frames = np.stack([self._frames[indices[place]] for place in places])
            return torch.from_numpy(frames).float() / 127.5 - 1

        return PairBatch(clips, captions, torch.from_numpy(same.astype(bool)))


def _clips(config: ContrastiveTrainConfig) -> Iterator[tuple[np.ndarray, str]]:
    """Frames uint8 `t c h w` at the encoder's size, and the caption."""
    storage = open_storage(config.data)
    keys = sorted(key for key in storage.list() if key.endswith(".tar"))
    if not keys:
        raise ConfigError(
            f"{config.data}: got no .tar file, expected shards of clips. Fix: give the output of "
            "'videogen data pack'."
        )
    for key in keys:
        with temporary_folder() as folder, local_copy(storage, key) as path:
            for name, sample in read_shard(path):
                said = json.loads(sample.get("json", b"{}"))
                caption = str(said.get("caption") or sample.get("txt", b"").decode()).strip()
                if caption and "mp4" in sample:
                    clip = folder / "clip.mp4"
                    clip.write_bytes(sample["mp4"])
                    yield _read(clip, f"{key}: {name}", config), caption


def _read(path: Path, name: str, config: ContrastiveTrainConfig) -> np.ndarray:
    """The frames that the encoder would choose of a clip, without holding the others."""
    size, count = config.encoder.size, config.encoder.num_frames
    wanted = even_places(probe(path).num_frames, count)
    found: dict[int, np.ndarray] = {}
    first = 0
    for portion in iter_video(path):
        for place in {w for w in wanted if first <= w < first + len(portion)}:
            pixels = fit_frames(portion[place - first][None], size)[0]
            found[place] = ((pixels + 1) * 127.5).round().clamp(0, 255).byte().numpy()
        first += len(portion)
    if len(found) < len(set(wanted)):
        raise MediaError(f"{name}: got {first} frames, expected {wanted[-1] + 1}.")
    return np.stack([found[place] for place in wanted])
