"""Clips of a teacher kept in memory with the states on their way: made once, drawn many times."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from videogen.training.checks import check_clips, check_window
from videogen.training.clips import numbered_scene
from videogen.training.distill_config import DistillConfig, TrajectoryPoolConfig
from videogen.training.distill_teacher import Start, Teacher
from videogen.training.draws import generator_of
from videogen.training.exchange import gathered, of_first
from videogen.training.pool_file import digest_of, read_pool, write_pool
from videogen.training.prompts import training_prompt
from videogen.training.windows import AHEAD
from videogen.training.world import World

NEXT, BEFORE = "next", "-before"
ROUNDING = 1e-6
MAX_KNOWN = 4
"""Most latent frames that a window goes on from."""
LOOP_SHARE = 0.2
"""Of the windows that go on, those that lead back to the start of a clip."""
TURN_SHARE = 0.15
"""Of the windows that go on, those of another prompt than what they go on from, fully guided."""


@dataclass(frozen=True)
class Segments:
    """Parts of the teacher's way, each to be one step of the student.

    Attributes:
        start, end: latents `b c t h w`, float32.
        first, last: their noise levels, `b`.
        is_known: bool `b t`; known frames are the same in both.
        index: which part each is, int64 `b`.
    """

    start: Tensor
    end: Tensor
    first: Tensor
    last: Tensor
    is_known: Tensor
    index: Tensor
    prompts: list[str]

    def __len__(self) -> int:
        return len(self.prompts)

    def part(self, places: slice) -> Segments:
        """Some of them."""
        return Segments(**{name: values[places] for name, values in vars(self).items()})


class TrajectoryPool:
    """A ring of what a teacher made; prompt `i` of a seed is always the same."""

    def __init__(
        self,
        pool: TrajectoryPoolConfig,
        config: DistillConfig,
        teacher: Teacher,
        number: int,
        world: World,
    ) -> None:
        """Make an empty pool.

        Args:
            number: its place among the pools of the configuration.
            world: each worker makes its part of the clips and is sent the rest.
        """
        self.config, self._world = pool, world
        self._whole, self._teacher, self._number = config, teacher, number
        self._tensors: dict[str, Tensor] = {}
        self._next = 0
        check_clips(teacher.model.spec.vae, pool.num_frames)
        if pool.goes_on:
            check_window("to go on", self.latent_frames, 2)

    def __len__(self) -> int:
        return min(self._next, self.config.capacity)

    @property
    def latent_frames(self) -> int:
        return self._teacher.model.spec.vae.latent_frames(self.config.num_frames)

    def fill(self, folder: Path) -> None:
        """Make clips until the pool holds its initial number; the first worker saves each batch."""
        while self._next < self.config.initial:
            self._make(min(self._whole.teacher_batch, self.config.initial - self._next))
            if self._world.is_first:
                self.save(folder)

    def hold(self, num_draws: int) -> None:
        """Make what a pool that was drawn from so often holds; the oldest clips make room."""
        while self._next < self._due(num_draws):
            self._make(self._whole.teacher_batch)

    def draw(self, count: int, generator: torch.Generator) -> Segments:
        """Random parts of random clips."""
        slots = torch.randint(len(self), (count,), generator=generator)
        stops = self._teacher.stops.float()
        index = torch.randint(len(stops) - 1, (count,), generator=generator)
        states = self._tensors["states"]
        return Segments(
            start=states[slots, index].float(),
            end=states[slots, index + 1].float(),
            first=stops[index],
            last=stops[index + 1],
            is_known=self._tensors["is_known"][slots],
            index=index,
            prompts=[self._prompt(int(i)) for i in self._tensors["prompts"][slots]],
        )

    def save(self, folder: Path) -> None:
        """Write the clips, so that a resumed run need not make them again.

        What was written before stays beside it: the checkpoint that goes with it is the last one
        until the next is written.
        """
        path = self._path(folder)
        held = {name: tensor[: len(self)] for name, tensor in self._tensors.items()}
        if path.exists():
            path.replace(self._path(folder, BEFORE))
        write_pool(path, {**held, NEXT: torch.tensor([self._next])}, self._made_by)

    def restore(self, folder: Path, num_draws: int) -> None:
        """Read what `save` wrote, if it is there; the first worker's file counts for all.

        Args:
            num_draws: how often the pool was drawn from until the checkpoint that a run goes on
                from; a file of later is not read, and replaced by the one before.
        """
        saved = self._saved(folder, num_draws) if self._world.is_first else {}
        saved = of_first(saved, self._world, self._teacher.device)
        if saved:
            following = int(saved.pop(NEXT))
            self._keep(saved)
            self._next = following

    def _saved(self, folder: Path, num_draws: int) -> dict[str, Tensor]:
        path, before = self._path(folder), self._path(folder, BEFORE)
        if before.exists() and not (path.exists() and _next_of(path) <= self._due(num_draws)):
            before.replace(path)
        return read_pool(path, self._made_by)

    def _due(self, num_draws: int) -> int:
        """How many clips were made when a pool was drawn from so often."""
        batch = self._whole.teacher_batch
        return self.config.initial + batch * int(
            num_draws * self.config.fresh_per_step / batch + ROUNDING
        )

    @property
    def _made_by(self) -> str:
        """Of all that decides what clips are made, and for which prompts."""
        whole, pool = self._whole, self.config
        return digest_of(
            (self._teacher.digest, whole.schedule.seed, whole.teacher_batch, whole.autocast),
            (whole.worlds, whole.caption_dropout, whole.unknown_words),
            (self._number, len(whole.pools), pool.num_frames, pool.goes_on),
            (pool.initial, pool.capacity),
        )

    def _path(self, folder: Path, when: str = "") -> Path:
        return folder / f"trajectories-{self._number}{when}.safetensors"

    def _prompt(self, index: int) -> str:
        config, seed = self._whole, self._whole.schedule.seed
        own = index * len(config.pools) + self._number
        scene = numbered_scene(seed, own, config.worlds)
        return training_prompt(scene, np.random.default_rng([seed, own]), config)

    def _make(self, count: int) -> None:
        drawn = generator_of(self._whole.schedule.seed, self._number, self._next)
        numbers = torch.arange(self._next, self._next + count)
        start = self._start(numbers, drawn)
        noise = torch.randn(start.known.shape, generator=drawn)
        part = self._world.part(count)
        walked = part if part.stop > part.start else slice(1)  # one, of which nothing is kept
        mine = self._teacher.walk(start.part(walked), noise[walked])[: part.stop - part.start]
        states = gathered(mine, count, self._world, self._teacher.device)
        self._keep({"states": states, "is_known": start.is_known, "prompts": numbers})
        self._next += count

    def _start(self, numbers: Tensor, drawn: torch.Generator) -> Start:
        """Windows of new prompts, and windows that go on from clips in the pool.

        Args:
            numbers: of the prompts; replaced by those of the clips that windows go on from.
        """
        count, frames = len(numbers), self.latent_frames
        c, h, w = self._teacher.latent_size
        known = torch.zeros(count, c, frames, h, w)
        is_known = torch.zeros(count, frames, dtype=torch.bool)
        guidance = torch.full((count,), self._teacher.guidance)
        goes_on = torch.rand(count, generator=drawn) < (self.config.goes_on if len(self) else 0.0)
        for i in goes_on.nonzero().flatten().tolist():
            slot = int(torch.randint(len(self), (), generator=drawn))
            clip = self._tensors["states"][slot, -1].float()
            length = int(torch.randint(1, min(MAX_KNOWN, frames - 1) + 1, (), generator=drawn))
            is_known[i, :length] = True
            known[i, :, :length] = clip[:, frames - length :]
            shares = torch.tensor([LOOP_SHARE, TURN_SHARE])
            leads_back, turns = (torch.rand(2, generator=drawn) < shares).tolist()
            if leads_back and length + AHEAD < frames:
                is_known[i, frames - AHEAD :] = True
                known[i, :, frames - AHEAD :] = clip[:, 1 : 1 + AHEAD]
            if not turns:
                numbers[i] = self._tensors["prompts"][slot]
                guidance[i] = self._teacher.context_guidance
        prompts = [self._prompt(int(i)) for i in numbers]
        return Start(prompts, known, is_known, guidance)

    def _keep(self, made: dict[str, Tensor]) -> None:
        """Write rows into the ring, which is as long as it gets from the start."""
        count = len(made["prompts"])
        if not self._tensors:
            self._tensors = {
                name: rows.new_zeros(self.config.capacity, *rows.shape[1:])
                for name, rows in made.items()
            }
        slots = torch.arange(self._next, self._next + count) % self.config.capacity
        for name, rows in made.items():
            self._tensors[name][slots] = rows


def _next_of(path: Path) -> int:
    """How many clips were made when a file was written."""
    with safe_open(path, "pt") as file:
        return int(file.get_tensor(NEXT))
