"""Learn many guided steps of a teacher as few steps without guidance.

Progressive distillation (Salimans & Ho 2202.00512) and guided distillation (Meng et al.
2210.03142) at once, on the ways that the teacher itself takes from noise to clips: no rendered
clips are needed, only prompts. The student is the teacher with a low-rank adapter.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import Tensor

from videogen.training.denoising import attention
from videogen.training.distill_config import DistillConfig
from videogen.training.distill_model import Student, make_student, save_student
from videogen.training.distill_pool import Segments, TrajectoryPool
from videogen.training.distill_teacher import FLOW
from videogen.training.draws import generator_of
from videogen.training.finetune_state import saved_step
from videogen.training.learner import Learner
from videogen.training.loop import NO_HOOKS, Hooks, Saved, train
from videogen.training.measured import LOSS
from videogen.training.turns import Turns
from videogen.training.world import World

BY_SEGMENT = "loss_by_segment"


def distill(
    config: DistillConfig,
    folder: Path,
    world: World | None = None,
    stop_at: int | None = None,
    hooks: Hooks = NO_HOOKS,
) -> None:
    """Distil, or go on with it, in `folder`; `folder/model` is the teacher with the adapter.

    Args:
        folder: of this worker; those of all workers hold the same checkpoint, or none.
        world: None is that of the default process group.
        stop_at: leave after this step with a checkpoint; the schedule stays that of the config.
        hooks: `on_save` is given the averaged `Model`.

    Raises:
        WeightsError: there is no such teacher, or a checkpoint is of another configuration.
        ConfigError: the teacher is no rectified flow, or there are too many workers.
    """
    world = world or World.of_process_group()
    torch.set_num_threads(config.schedule.num_threads)
    folder.mkdir(parents=True, exist_ok=True)
    stage = Distillation(config, world)
    stage.restore(folder)
    train(stage, folder, world, stop_at, hooks)


class Distillation:
    """The stage: parts of a teacher's ways, drawn from pools of clips that it made."""

    def __init__(self, config: DistillConfig, world: World) -> None:
        self.config = config
        self.student: Student = make_student(config, world)
        self.pools = [
            TrajectoryPool(pool, config, self.student.teacher, number, world)
            for number, pool in enumerate(config.pools)
        ]
        self._turns = Turns((pool.share for pool in config.pools), config.schedule.seed)

    def restore(self, folder: Path) -> None:
        """Fill the pools with what they held at the checkpoint of a folder."""
        self._turns.count(saved_step(folder))
        for pool, num_draws in zip(self.pools, self._turns.num_draws, strict=True):
            pool.restore(folder, num_draws)
            pool.fill(folder)

    @property
    def learner(self) -> Learner:
        return self.student.learner

    def draw(self, step: int) -> Segments:
        pool = self._pool(step)
        shortest = min(each.latent_frames for each in self.pools)
        count = max(1, self.config.schedule.batch_size * shortest // pool.latent_frames)
        return pool.draw(count, generator_of(self.config.schedule.seed, step))

    def losses(self, drawn: Segments, places: range) -> dict[str, Tensor]:
        part = drawn.part(slice(places.start, places.stop))
        losses = self._squared_errors(part)
        errors = losses.detach().double()
        by_segment = errors.new_zeros(2, self.config.num_inference_steps)
        for row, values in enumerate((errors, torch.ones_like(errors))):
            by_segment[row].index_add_(0, part.index.to(errors.device), values)
        return {LOSS: losses.sum() / len(drawn), BY_SEGMENT: by_segment}

    def computing(self) -> AbstractContextManager[object]:
        return attention(self.learner.device)

    def save(self, folder: Path | None) -> Saved | None:
        model = save_student(self.student, self.config, folder)
        if folder is None:
            return None
        for pool in self.pools:
            pool.save(folder)
        return Saved(model)

    def _squared_errors(self, part: Segments) -> Tensor:
        """Of the velocity that leads from start to end at once, `b`.

        On a rectified flow one Euler step is `end = start + (last - first) velocity`.
        """
        device, teacher = self.learner.device, self.student.teacher
        start, end = part.start.to(device), part.end.to(device)
        width = (part.last - part.first).to(device)[:, None, None, None, None]
        levels = teacher.levels(part.first, part.is_known)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.config.autocast):
            velocity = self.learner.forward(start, FLOW.timestep(levels), part.prompts)
        by_frame = (velocity.float() - (end - start) / width).square().mean(dim=(1, 3, 4))
        is_new = (~part.is_known).to(by_frame)
        return (by_frame * is_new).sum(dim=1) / is_new.sum(dim=1)

    def _pool(self, step: int) -> TrajectoryPool:
        """The pool of a step, holding what it holds then."""
        self._turns.count(step + 1)
        place, _ = self._turns.at(step)
        self.pools[place].hold(self._turns.num_draws[place])
        return self.pools[place]
