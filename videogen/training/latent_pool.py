"""Encoded clips kept in memory: encoded once, drawn many times, slowly replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from videogen.models.spec import LatentStatistics
from videogen.models.vae import VideoVAE
from videogen.models.weights import normalise_latents
from videogen.shapes.motion import StartsOver
from videogen.shapes.scene import Scene
from videogen.training.clips import numbered_scene, render_batch, render_round
from videogen.training.config import LatentPoolConfig
from videogen.training.windows import AHEAD, Batch, glide, windows

ENCODE_BATCH = 16
MAX_ROUND_LATENTS = 100
"""The longest round of a looped clip, in latent frames."""


class LatentPool:
    """A ring of latents of numbered scenes; scene `first + i` of a seed is always the same."""

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
    ) -> None:
        """Make an empty pool.

        Args:
            emphasis: how often a motion is drawn, 1 if not said.
            autocast: encode in bfloat16.
        """
        self.config = config
        self._vae, self._statistics = vae, statistics
        self._worlds, self._size, self._seed = tuple(worlds), size, seed
        self._emphasis = emphasis or {}
        self._autocast = autocast
        self._latents: list[Tensor] = []
        self._scenes: list[Scene] = []
        self._next = 0
        self._owed = 0.0

    def __len__(self) -> int:
        return len(self._latents)

    def fill(self) -> None:
        """Encode clips until the pool holds its initial number."""
        while len(self) < self.config.initial:
            self._encode(min(ENCODE_BATCH, self.config.initial - len(self)))

    def refresh(self) -> None:
        """Encode this step's share of fresh clips; the oldest make room."""
        self._owed += self.config.fresh_per_step
        if self._owed >= ENCODE_BATCH:
            self._owed -= ENCODE_BATCH
            self._encode(ENCODE_BATCH)

    @property
    def latent_frames(self) -> int:
        """Latent frames of what is drawn."""
        return self._vae.config.latent_frames(self.config.window_frames or self.config.num_frames)

    def draw(self, count: int) -> Batch:
        """Random clips or windows of them."""
        weights = torch.tensor([self._weight(scene) for scene in self._scenes])
        indices = torch.multinomial(weights, count, replacement=True).tolist()
        latents = torch.stack([self._latents[i] for i in indices]).float()
        scenes = [self._scenes[i] for i in indices]
        return windows(self.config.kind, latents, scenes, self.latent_frames)

    def save(self, folder: Path) -> None:
        """Write the latents, so that a resumed run need not encode them again."""
        path = self._path(folder)
        partial = path.with_suffix(".partial")
        counters = torch.tensor([self._next, self._owed], dtype=torch.float64)
        save_file({"latents": torch.stack(self._latents), "next_owed": counters}, partial)
        partial.replace(path)

    def restore(self, folder: Path) -> None:
        """Read what `save` wrote, if it is there."""
        path = self._path(folder)
        if not path.exists():
            return
        saved = load_file(path)
        self._latents = list(saved["latents"])
        self._next, self._owed = int(saved["next_owed"][0]), float(saved["next_owed"][1])
        self._scenes = [self._scene(self._index_at(slot)) for slot in range(len(self))]

    def _path(self, folder: Path) -> Path:
        kind = "" if self.config.kind == "whole" else f"{self.config.kind}-"
        return folder / f"latents-{kind}{self.config.num_frames}.safetensors"

    def _weight(self, scene: Scene) -> float:
        return max(self._emphasis.get(spec.motion, 1.0) for spec in scene.objects)

    def _scene(self, index: int) -> Scene:
        return numbered_scene(self._seed, index, self._worlds)

    def _index_at(self, slot: int) -> int:
        """Index of the newest scene that went into `slot` of the ring."""
        last = self._next - 1
        return last - (last - slot) % self.config.capacity

    def _render(self, scenes: Sequence[Scene]) -> Tensor:
        if self.config.kind != "looped":
            return render_batch(scenes, self.config.num_frames, self._size)
        factor = self._vae.config.time_factor
        over = factor * glide(self.latent_frames)
        rng = np.random.default_rng([self._seed, self._next])
        shortest = self._vae.config.latent_frames(self.config.num_frames)
        latents = rng.integers(shortest, MAX_ROUND_LATENTS, len(scenes))
        rounds = [StartsOver(factor * int(at), over) for at in latents]
        return render_round(
            scenes, self.config.num_frames, self._size, rounds=rounds, after=factor * AHEAD
        )

    @torch.no_grad()
    def _encode(self, count: int) -> None:
        scenes = [self._scene(self._next + i) for i in range(count)]
        frames = self._render(scenes)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._autocast):
            encoded = self._vae.encode(frames)
        latents = normalise_latents(encoded.float(), self._statistics).half()
        for scene, latent in zip(scenes, latents, strict=True):
            slot = self._next % self.config.capacity
            if slot == len(self._latents):
                self._latents.append(latent.clone())
                self._scenes.append(scene)
            else:
                self._latents[slot], self._scenes[slot] = latent.clone(), scene
            self._next += 1
