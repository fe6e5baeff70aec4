"""Learn many guided steps of a teacher as few steps without guidance.

Progressive distillation (Salimans & Ho 2202.00512) and guided distillation (Meng et al.
2210.03142) at once, on the ways that the teacher itself takes from noise to clips: no rendered
clips are needed, only prompts. The student is the teacher with a low-rank adapter.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from videogen.models.spec import LORA_FILE
from videogen.models.weights import describe_adapted, load_model
from videogen.training.distill_config import DistillConfig
from videogen.training.distill_pool import Segments, TrajectoryPool, generator_of
from videogen.training.distill_teacher import FLOW, Teacher, computing
from videogen.training.lora import add_lora, save_lora
from videogen.training.state import (
    AveragedModel,
    TrainingLog,
    learning_rate_at,
    load_checkpoint,
    save_checkpoint,
)


@dataclass(frozen=True)
class _Trainer:
    config: DistillConfig
    teacher: Teacher
    student: nn.Module
    names: list[str]
    """Of the parameters of the adapter, in their order."""
    adapter: nn.ParameterList
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    pools: list[TrajectoryPool]

    @property
    def modules(self) -> dict[str, nn.Module]:
        return {"adapter": self.adapter, "average": self.average.model}


def distill(config: DistillConfig, folder: Path, stop_at: int | None = None) -> None:
    """Distil, or go on with it, in `folder`; `folder/model` is the teacher with the adapter.

    Args:
        stop_at: leave after this step with a checkpoint; the schedule stays that of the config.

    Raises:
        WeightsError: there is no such teacher, or a checkpoint is of another configuration.
        ConfigError: the teacher is no rectified flow.
    """
    schedule = config.schedule
    torch.set_num_threads(schedule.num_threads)
    folder.mkdir(parents=True, exist_ok=True)
    trainer = _make_trainer(config)
    for pool in trainer.pools:
        pool.restore(folder)
        pool.fill(folder)
    first_step = load_checkpoint(folder, trainer.modules, [trainer.optimizer])
    log = TrainingLog(folder)
    last_step = min(schedule.num_steps, stop_at or schedule.num_steps)
    for step in range(first_step, last_step):
        loss, norm, by_segment = _step(trainer, step)
        done = step + 1
        if done % schedule.log_every == 0:
            log.write(step=done, loss=loss, gradient_norm=norm, loss_by_segment=by_segment)
        if done % schedule.checkpoint_every == 0 or done == last_step:
            _save(trainer, folder, done)


def segment_losses(student: nn.Module, teacher: Teacher, segments: Segments) -> Tensor:
    """Squared error of the velocity that leads from start to end at once, `b`.

    On a rectified flow one Euler step is `end = start + (last - first) velocity`.
    """
    device = teacher.device
    start, end = segments.start.to(device), segments.end.to(device)
    width = (segments.last - segments.first).to(device)
    target = (end - start) / width[:, None, None, None, None]
    levels = teacher.levels(segments.first, segments.is_known)
    with torch.no_grad():
        text = teacher.model.text.encode(segments.prompts)
    velocity = student(start, FLOW.timestep(levels), text)
    by_frame = (velocity.float() - target).square().mean(dim=(1, 3, 4))
    is_new = (~segments.is_known).to(by_frame)
    return (by_frame * is_new).sum(dim=1) / is_new.sum(dim=1)


def _step(trainer: _Trainer, step: int) -> tuple[float, float, list[float | None]]:
    config, schedule = trainer.config, trainer.config.schedule
    shares = np.array([pool.config.share for pool in trainer.pools])
    rng = np.random.default_rng([schedule.seed, step])
    pool = trainer.pools[int(rng.choice(len(shares), p=shares / shares.sum()))]
    pool.refresh()
    shortest = min(each.latent_frames for each in trainer.pools)
    count = max(1, schedule.batch_size * shortest // pool.latent_frames)
    segments = pool.draw(count, generator_of(schedule.seed, step))
    for group in trainer.optimizer.param_groups:
        group["lr"] = schedule.learning_rate * learning_rate_at(step, schedule)
    with computing(trainer.teacher.device, config.autocast):
        losses = segment_losses(trainer.student, trainer.teacher, segments)
    trainer.optimizer.zero_grad()
    losses.mean().backward()
    norm = nn.utils.clip_grad_norm_(trainer.adapter.parameters(), schedule.gradient_clip)
    trainer.optimizer.step()
    trainer.average.update(trainer.adapter, step)
    losses = losses.detach().cpu()
    return float(losses.mean()), float(norm), _by_segment(losses, segments.index, config)


def _by_segment(losses: Tensor, index: Tensor, config: DistillConfig) -> list[float | None]:
    parts = [losses[index == segment] for segment in range(config.num_inference_steps)]
    return [round(float(part.mean()), 6) if len(part) else None for part in parts]


def _make_trainer(config: DistillConfig) -> _Trainer:
    model = load_model(config.model, config.schedule.device)
    teacher = Teacher.of(config, model)
    student = copy.deepcopy(model.dit)
    add_lora(student, config.lora_rank, config.schedule.seed)
    trained = {name: p for name, p in student.named_parameters() if p.requires_grad}
    adapter = nn.ParameterList(trained.values())
    return _Trainer(
        config=config,
        teacher=teacher,
        student=student,
        names=list(trained),
        adapter=adapter,
        average=AveragedModel(adapter, config.schedule.ema_decay),
        optimizer=torch.optim.AdamW(
            adapter.parameters(),
            lr=config.schedule.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=0.0,
        ),
        pools=[TrajectoryPool(p, config, teacher, n) for n, p in enumerate(config.pools)],
    )


def _save(trainer: _Trainer, folder: Path, step: int) -> None:
    save_checkpoint(folder, step, trainer.modules, [trainer.optimizer])
    for pool in trainer.pools:
        pool.save(folder)
    config, result = trainer.config, folder / "model"
    result.mkdir(parents=True, exist_ok=True)
    averages = trainer.average.model.parameters()
    tensors = {n: p.detach().half().cpu() for n, p in zip(trainer.names, averages, strict=True)}
    save_lora(tensors, result / LORA_FILE)
    spec = trainer.teacher.model.spec
    sampling = {
        "num_inference_steps": config.num_inference_steps,
        "guidance_scale": 1.0,
        "context_guidance": 1.0,
        "sampler": "euler",
    }
    describe_adapted(result, config.name, config.base or _place(config.model), spec, sampling)


def _place(model: str) -> str:
    """A model as it is found from another folder."""
    folder = Path(model).expanduser()
    return str(folder.absolute()) if folder.is_dir() else model
