"""Encoded clips kept in memory: encoded once, drawn many times, slowly replaced.

Which scenes a pool holds depends on how often it was drawn from alone, so that a run that goes on,
or has other workers, finds the same ones; a file of latents only spares it encoding them again.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from videogen.models.spec import LatentStatistics
from videogen.models.vae import VideoVAE
from videogen.models.weights import normalise_latents
from videogen.shapes.motion import StartsOver
from videogen.shapes.scene import Scene
from videogen.training.checks import check_clips, check_window
from videogen.training.clips import numbered_scene, render_batch, render_round
from videogen.training.config import LatentPoolConfig
from videogen.training.exchange import gathered, of_first
from videogen.training.pool_file import digest_of, digest_of_weights, read_pool, write_pool
from videogen.training.windows import AHEAD, Batch, glide, windows
from videogen.training.world import World

ENCODE_BATCH = 16
MAX_ROUND_LATENTS = 100
"""The longest round of a looped clip, in latent frames."""
ROUNDING = 1e-6
LATENTS, INDICES = "latents", "indices"
SHORTEST = {"whole": 1, "continued": 2, "looped": 2 + AHEAD}
"""Latent frames of windows, by the kind of their pool."""


@dataclass(frozen=True)
class _Clip:
    """What is in a slot of the ring: a scene by its index, how often it is drawn, and latents."""

    index: int
    scene: Scene
    weight: float
    latents: Tensor


class LatentPool:
    """A ring of latents of numbered scenes; scene `i` of a seed is always the same."""

    def __init__(
        self,
        config: LatentPoolConfig,
        vae: VideoVAE,
        statistics: LatentStatistics,
        *,
        worlds: Sequence[str],
        size: int,
        seed: int,
        emphasis: Mapping[str, float] | None = None,
        autocast: bool = False,
        world: World | None = None,
    ) -> None:
        """Make an empty pool.

        Args:
            vae: on the device that it is to encode on.
            emphasis: how often a motion is drawn, 1 if not said.
            autocast: encode in bfloat16.
            world: each worker encodes its part and is sent the rest; None encodes all here.

        Raises:
            ConfigError: clips or windows do not fill latents, or are too short.
        """
        self.config = config
        self._vae, self._statistics = vae, statistics
        self._device = next(vae.parameters()).device
        self._worlds, self._size, self._seed = tuple(worlds), size, seed
        self._emphasis = emphasis or {}
        self._autocast = autocast
        self._world = world or World()
        self._slots: dict[int, _Clip] = {}
        self._length = 0
        check_clips(vae.config, config.num_frames, size)
        check_clips(vae.config, config.window_frames or 1, field="window_frames")
        check_window(config.kind, self.latent_frames, SHORTEST[config.kind])

    def __len__(self) -> int:
        return self._length

    def hold(self, num_draws: int) -> None:
        """Encode what a pool that was drawn from so often holds; the oldest make room."""
        due = num_draws * self.config.fresh_per_step / ENCODE_BATCH
        stop = self.config.initial + ENCODE_BATCH * int(due + ROUNDING)
        first = max(0, stop - self.config.capacity)
        missing = {index for index in range(first, stop) if not self._holds(index)}
        for together in dict.fromkeys(self._batch(index) for index in sorted(missing)):
            self._encode(together, missing)
        self._length = stop - first

    def _batch(self, index: int) -> range:
        """The scenes that one is encoded with, always the same ones: batches round differently."""
        initial = self.config.initial
        start = index - (index if index < initial else index - initial) % ENCODE_BATCH
        return range(start, min(start + ENCODE_BATCH, initial if index < initial else sys.maxsize))

    def _holds(self, index: int) -> bool:
        clip = self._slots.get(index % self.config.capacity)
        return clip is not None and clip.index == index

    @property
    def latent_frames(self) -> int:
        """Latent frames of what is drawn."""
        return self._vae.config.latent_frames(self.config.window_frames or self.config.num_frames)

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """Random clips or windows of them."""
        held = self._held()
        weights = torch.tensor([clip.weight for clip in held])
        drawn = torch.multinomial(weights, count, replacement=True, generator=generator).tolist()
        latents = torch.stack([held[i].latents for i in drawn]).float()
        scenes = [held[i].scene for i in drawn]
        return windows(self.config.kind, latents, scenes, self.latent_frames, generator)

    def save(self, folder: Path) -> None:
        """Write the latents, so that a resumed run need not encode them again."""
        held = self._held()
        indices = torch.tensor([clip.index for clip in held], dtype=torch.int64)
        latents = torch.stack([clip.latents for clip in held])
        write_pool(self._path(folder), {LATENTS: latents, INDICES: indices}, self._made_by)

    def restore(self, folder: Path) -> None:
        """Read what `save` wrote, if it is there; the first worker's file counts for all."""
        saved = read_pool(self._path(folder), self._made_by) if self._world.is_first else {}
        saved = of_first(saved, self._world, self._device)
        for index, latents in zip(saved.get(INDICES, ()), saved.get(LATENTS, ()), strict=True):
            self._keep(int(index), latents.clone())

    def _held(self) -> list[_Clip]:
        return [self._slots[slot] for slot in range(len(self))]

    @property
    def _latent_size(self) -> tuple[int, int, int, int]:
        """`c t h w` of what is encoded."""
        config = self._vae.config
        side, frames = self._size // config.space_factor, self.config.num_frames
        return config.latent_channels, config.latent_frames(frames), side, side

    def _path(self, folder: Path) -> Path:
        config = self.config
        kind = "" if config.kind == "whole" else f"{config.kind}-"
        window = f"-{config.window_frames}" if config.window_frames else ""
        return folder / f"latents-{kind}{config.num_frames}{window}.safetensors"

    @cached_property
    def _made_by(self) -> str:
        """Of all that decides the latents of a scene with a number, and which scene that is."""
        return digest_of(
            (digest_of_weights(self._vae), self._statistics, self._autocast),
            (self._seed, self._worlds, self._size, ENCODE_BATCH),
            (self.config.kind, self.config.num_frames, self.config.window_frames),
        )

    def _weight(self, scene: Scene) -> float:
        return max(self._emphasis.get(spec.motion, 1.0) for spec in scene.objects)

    def _scene(self, index: int) -> Scene:
        return numbered_scene(self._seed, index, self._worlds)

    def _render(self, indices: Sequence[int]) -> Tensor:
        scenes = [self._scene(index) for index in indices]
        if self.config.kind != "looped":
            return render_batch(scenes, self.config.num_frames, self._size)
        factor = self._vae.config.time_factor
        over = factor * glide(self.latent_frames)
        rounds = [StartsOver(factor * self._round(index), over) for index in indices]
        return render_round(
            scenes, self.config.num_frames, self._size, rounds=rounds, after=factor * AHEAD
        )

    def _round(self, index: int) -> int:
        """Latent frames after which a looped clip starts over."""
        shortest = self._vae.config.latent_frames(self.config.num_frames)
        rng = np.random.default_rng([self._seed, index, 1])
        return int(rng.integers(shortest, MAX_ROUND_LATENTS))

    def _encode(self, indices: range, wanted: set[int]) -> None:
        mine, count = indices[self._world.part(len(indices))], len(indices)
        nothing = torch.empty(0, *self._latent_size, dtype=torch.float16)
        encoded = gathered(
            self._encoded(mine) if mine else nothing, count, self._world, self._device
        )
        for index, latents in zip(indices, encoded, strict=True):
            if index in wanted:
                self._keep(index, latents.clone())

    @torch.no_grad()
    def _encoded(self, indices: Sequence[int]) -> Tensor:
        frames = self._render(indices).to(self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast):
            encoded = self._vae.encode(frames)
        return normalise_latents(encoded.float(), self._statistics).half().cpu()

    def _keep(self, index: int, latents: Tensor) -> None:
        scene = self._scene(index)
        clip = _Clip(index, scene, self._weight(scene), latents)
        self._slots[index % self.config.capacity] = clip
