"""The one loop of all training stages: alone, or as one of several workers.

A stage says what a step draws, what a part of it costs, and what to write; the loop shares the
batch among workers, accumulates, averages, logs, and goes on from checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from videogen.errors import NonFiniteError, StorageError
from videogen.training.finetune_state import load_state, save_state
from videogen.training.learner import Learner
from videogen.training.measured import LOSS, LogValue, Measured
from videogen.training.optimizers import scale_learning_rates
from videogen.training.state import TrainingLog, learning_rate_at
from videogen.training.world import World


@dataclass(frozen=True)
class Saved:
    """What a stage wrote: the averaged model, and what it measured of it for the log."""

    model: Any
    measured: Mapping[str, LogValue] = field(default_factory=dict)


class Stage(Protocol):
    """What differs between the stages of training."""

    @property
    def learner(self) -> Learner: ...

    def draw(self, step: int) -> Sized:
        """The batch of a step, from the seed and the step alone; the same on every worker."""
        ...

    def losses(self, drawn: Any, places: range) -> dict[str, Tensor]:
        """What the samples at `places` of a batch contribute, by name.

        Contributions of all parts add up to the value of the batch: "loss" is minimised, and
        what stands beside it is logged; a tensor `2 n` is logged as sums over counts.
        """
        ...

    def computing(self) -> AbstractContextManager[object]:
        """Around every forward and backward pass."""
        ...

    def save(self, folder: Path | None) -> Saved | None:
        """Write the averaged model; every worker has to take part, the first one has a folder."""
        ...


@dataclass(frozen=True)
class Hooks:
    """Who is told of what.

    Attributes:
        on_step: every step done and what it measured, on every worker.
        on_save: every step whose averaged model was written, and the model, on the first worker.
        on_checkpoint: every step that can be gone on from, once all of it is written, there.
        on_note: what to know of the data before it is trained on, there.
    """

    on_step: Callable[[int, Measured], None] = lambda step, measured: None
    on_save: Callable[[int, Any], None] = lambda step, model: None
    on_checkpoint: Callable[[int], None] = lambda step: None
    on_note: Callable[[str], None] = lambda note: None


NO_HOOKS = Hooks()


def train(
    stage: Stage,
    folder: Path,
    world: World,
    stop_at: int | None = None,
    hooks: Hooks = NO_HOOKS,
) -> None:
    """Train, or go on training, in `folder`.

    Args:
        folder: of this worker; those of all workers hold the same checkpoint, or none.
        stop_at: leave after this step with a checkpoint; the schedule stays that of the config.

    Raises:
        WeightsError: the checkpoint is of another configuration.
        StorageError: a checkpoint or a model cannot be written; those before are whole.
        NonFiniteError: a loss or a gradient is not finite; nothing is written of that step.
    """
    learner, schedule = stage.learner, stage.learner.schedule
    torch.set_num_threads(schedule.num_threads)
    folder.mkdir(parents=True, exist_ok=True)
    first_step = load_state(
        folder, learner.module, learner.averages, learner.optimizers, learner.origin
    )
    log = TrainingLog(folder, first_step) if world.is_first else None
    last_step = min(schedule.num_steps, stop_at or schedule.num_steps)
    for step in range(first_step, last_step):
        measured = _step(stage, world, step)
        done = step + 1
        hooks.on_step(done, measured)
        # Not at `stop_at`: the log is that of a run that did not stop.
        if log is not None and (done % schedule.log_every == 0 or done == schedule.num_steps):
            log.write(step=done, **measured.row())
        if done % schedule.checkpoint_every == 0 or done == last_step:
            with _room_in(folder):
                _save(stage, done, folder, log, hooks)


@contextmanager
def _room_in(folder: Path) -> Iterator[None]:
    """Say what is wrong where a disk is full; files are replaced whole, so nothing is lost."""
    try:
        yield
    except (SafetensorError, OSError) as error:
        raise StorageError(
            f"{folder}: got {error}, expected room for a checkpoint and a model. The checkpoint "
            "before is whole. Fix: make room, and run the same command again."
        ) from error


def _save(stage: Stage, step: int, folder: Path, log: TrainingLog | None, hooks: Hooks) -> None:
    """The checkpoint comes last: a run that has it is not asked for the rest again."""
    learner, mine = stage.learner, folder if log is not None else None
    saved = stage.save(mine)
    if log is not None and saved is not None:
        if saved.measured:
            log.write(step=step, **saved.measured)
        hooks.on_save(step, saved.model)
    save_state(mine, step, learner.module, learner.averages, learner.optimizers, learner.origin)
    if log is not None:
        hooks.on_checkpoint(step)


def _step(stage: Stage, world: World, step: int) -> Measured:
    learner, schedule = stage.learner, stage.learner.schedule
    drawn = stage.draw(step)
    scale_learning_rates(learner.optimizers, learner.rates, learning_rate_at(step, schedule))
    for optimizer in learner.optimizers:
        optimizer.zero_grad()
    measured = Measured()
    parts = shares(len(drawn), world, learner.accumulate)
    for number, (places, weight) in enumerate(parts):
        # Checkpointed blocks compute again in the backward pass, which has to be done alike.
        with learner.synchronised(number == len(parts) - 1), stage.computing():
            values = stage.losses(drawn, places)
            # Workers average their gradients: of the batch's loss, each has its share.
            (values[LOSS] * (weight * world.size)).backward()
        measured.add(values, weight)
    if world.size > 1:
        measured.reduce()
    norm = nn.utils.clip_grad_norm_(learner.parameters, schedule.gradient_clip)
    full = getattr(norm, "full_tensor", None)
    measured.gradient_norm = float(norm if full is None else full())
    _check_finite(measured, step)
    for optimizer in learner.optimizers:
        optimizer.step()
    learner.averages.update(learner.module, step)
    return measured


def _check_finite(measured: Measured, step: int) -> None:
    """Stop before weights and averages are lost: what is not finite spreads to all of them."""
    if not math.isfinite(measured.loss) or not math.isfinite(measured.gradient_norm):
        raise NonFiniteError(
            f"step {step + 1}: got a loss of {measured.loss:g} and gradients of norm "
            f"{measured.gradient_norm:g}, expected numbers. The last checkpoint is whole. Fix: "
            "lower the learning rates, or leave out autocast."
        )


def shares(count: int, world: World, accumulate: int) -> list[tuple[range, float]]:
    """This worker's parts of a batch, and their weights.

    Every worker has as many parts, because each is a forward pass in which all take part. A part
    without a sample is the first one of the batch with weight 0.
    """
    mine = range(count)[world.part(count)]
    number = min(accumulate, -(-count // world.size))
    parts = [mine[World(place, number).part(len(mine))] for place in range(number)]
    return [(part, 1.0) if part else (range(1), 0.0) for part in parts]
