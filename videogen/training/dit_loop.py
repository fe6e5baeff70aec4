"""Train the DiT with its text encoder on rendered clips: noise levels for every frame."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from videogen.diffusion.objectives import logit_normal, sample_noise_levels
from videogen.training.config import DiTTrainConfig
from videogen.training.denoising import NoisyClips, attention
from videogen.training.dit_model import Beginner, make_beginner, save_beginner
from videogen.training.draws import generator_of
from videogen.training.latent_pool import LatentPool
from videogen.training.learner import Learner
from videogen.training.loop import NO_HOOKS, Hooks, Saved, train
from videogen.training.measured import LOSS
from videogen.training.prompts import training_prompt
from videogen.training.scene_maps import scene_maps
from videogen.training.scene_reader import Reading, map_errors, patches_of_maps
from videogen.training.turns import Turns
from videogen.training.windows import Batch
from videogen.training.word_meanings import word_errors, word_meanings
from videogen.training.world import World

MAP_LOSS = "map_loss"
TEXT_LOSS = "text_loss"


def train_dit(
    config: DiTTrainConfig,
    folder: Path,
    world: World | None = None,
    stop_at: int | None = None,
    hooks: Hooks = NO_HOOKS,
) -> None:
    """Train, or go on training, in `folder`; `folder/model` holds the averaged weights.

    Args:
        folder: of this worker; those of all workers hold the same checkpoint, or none.
        world: None is that of the default process group.
        stop_at: leave after this step with a checkpoint; the schedule stays that of the config.
        hooks: `on_save` is given the averaged `Model`.

    Raises:
        ConfigError: settings exclude each other.
        WeightsError: no VAE in `config.vae_folder`, or a checkpoint of another configuration.
    """
    world = world or World.of_process_group()
    torch.set_num_threads(config.schedule.num_threads)
    stage = DiTTraining(config, world)
    for pool in stage.pools:
        pool.restore(folder)
    train(stage, folder, world, stop_at, hooks)


@dataclass(frozen=True)
class DrawnWindows:
    """A batch, the same on every worker.

    Attributes:
        levels: of the noise, in [0, 1], `b t`.
        seed: of the noise.
    """

    batch: Batch
    captions: list[str]
    levels: Tensor
    seed: int

    def __len__(self) -> int:
        return len(self.captions)


class DiTTraining:
    """The stage: windows of rendered clips, drawn from pools of encoded ones."""

    def __init__(self, config: DiTTrainConfig, world: World) -> None:
        self.config = config
        self.beginner: Beginner = make_beginner(config, world)
        self.pools = [
            LatentPool(
                pool,
                self.beginner.vae,
                self.beginner.spec.latents,
                worlds=config.worlds,
                size=config.size,
                seed=config.schedule.seed,
                emphasis=config.emphasis,
                autocast=config.autocast,
                world=world,
            )
            for pool in config.pools
        ]
        self._turns = Turns((pool.share for pool in config.pools), config.schedule.seed)

    @property
    def learner(self) -> Learner:
        return self.beginner.learner

    def draw(self, step: int) -> DrawnWindows:
        config = self.config
        rng, pool = self._pool(step)
        seed = int(rng.integers(2**62))
        generator = generator_of(seed, 0)
        batch = self._batch(pool, rng, generator)
        captions = [training_prompt(scene, rng, config) for scene in batch.scenes]
        b, t = batch.known.shape
        levels = sample_noise_levels(
            b,
            t,
            logit_normal(config.logit_mean, config.logit_std),
            config.independent_share,
            generator,
            per_sample=True,
        )
        given = torch.rand(b, 1, generator=generator) * config.known_noise
        return DrawnWindows(batch, captions, torch.where(batch.known, given, levels), seed)

    def losses(self, drawn: DrawnWindows, places: range) -> dict[str, Tensor]:
        part = slice(places.start, places.stop)
        latents = drawn.batch.latents[part]
        noise = torch.stack(
            [
                torch.randn(latents.shape[1:], generator=generator_of(drawn.seed, 1, place))
                for place in places
            ]
        )
        counted = ~drawn.batch.known
        clips = NoisyClips(latents, noise, drawn.levels[part], drawn.captions[part], counted[part])
        if not self.config.reads_scenes:
            return self.beginner.denoising.losses(
                self.learner.forward, self.learner.device, clips, int(counted.sum())
            )
        return self._losses_with_readings(drawn, part, clips, int(counted.sum()))

    def _losses_with_readings(
        self, drawn: DrawnWindows, part: slice, clips: NoisyClips, num_counted: int
    ) -> dict[str, Tensor]:
        config, readings = self.config, []

        def forward(*inputs: Any) -> Tensor:
            prediction, reading = self.learner.forward(*inputs)
            readings.append(reading)
            return prediction

        losses = self.beginner.denoising.losses(forward, self.learner.device, clips, num_counted)
        map_loss = self._map_loss(readings[0], drawn, part)
        text_loss = self._text_loss(readings[0], drawn, part)
        total = losses[LOSS] + config.map_weight * map_loss + config.text_weight * text_loss
        return {**losses, LOSS: total, MAP_LOSS: map_loss, TEXT_LOSS: text_loss}

    def _map_loss(self, reading: Reading, drawn: DrawnWindows, part: slice) -> Tensor:
        """Of a part; the sum of all parts is the mean over the batch's frames."""
        errors = map_errors(reading.maps, self._maps(drawn.batch, part).to(reading.maps.device))
        # Windows of clips that run round have no maps.
        return errors.sum() / drawn.levels.numel() * (drawn.batch.firsts is not None)

    def _text_loss(self, reading: Reading, drawn: DrawnWindows, part: slice) -> Tensor:
        """Of a part; the sum of all parts is the mean over the batch's words."""
        of_all = word_meanings(drawn.captions, self.config.text.max_tokens)
        captions = torch.arange(part.start, part.stop)
        mine = of_all[torch.isin(of_all[:, 0], captions)] - torch.tensor([part.start, 0, 0])
        errors = word_errors(reading.words, mine.to(reading.words.device))
        return errors.sum() / max(1, len(of_all))

    def _maps(self, batch: Batch, part: slice) -> Tensor:
        """What is where in the clips of a part, as tokens `b t s d`."""
        _, _, t, cells, _ = batch.latents[part].shape
        firsts = (batch.firsts or [0] * len(batch.scenes))[part]
        factor = self.beginner.vae.config.time_factor
        maps = scene_maps(batch.scenes[part], firsts, t, cells, factor)
        return patches_of_maps(maps, self.config.dit)

    def computing(self) -> AbstractContextManager[object]:
        return attention(self.learner.device)

    def save(self, folder: Path | None) -> Saved | None:
        model = save_beginner(self.beginner, folder)
        if folder is None:
            return None
        for pool in self.pools:
            if len(pool):
                pool.save(folder)
        return Saved(model)

    def _pool(self, step: int) -> tuple[np.random.Generator, LatentPool]:
        """The pool of a step, holding what it holds then, and the rest of the step's draws."""
        self._turns.count(step + 1)
        place, rng = self._turns.at(step)
        self.pools[place].hold(self._turns.num_draws[place])
        return rng, self.pools[place]

    def _batch(
        self, pool: LatentPool, rng: np.random.Generator, generator: torch.Generator
    ) -> Batch:
        """Windows of one length: as many of a pool as keep the number of latents the same."""
        shortest, frames = min(p.latent_frames for p in self.pools), pool.latent_frames
        count = max(1, self.config.schedule.batch_size * shortest // frames)
        batch = pool.draw(count, generator)
        if pool.config.kind == "whole" and frames > 1 and rng.random() < self.config.shorter_share:
            kept = int(rng.integers(1, frames))
            return replace(batch, latents=batch.latents[:, :, :kept], known=batch.known[:, :kept])
        return batch
