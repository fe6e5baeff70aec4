"""Fine-tune a model on encoded clips: alone, or as one of several workers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from videogen.diffusion.objectives import elementwise_loss, training_target
from videogen.diffusion.process import add_noise
from videogen.models.protocol import VideoModel
from videogen.training.config import FineTuneConfig
from videogen.training.draws import Draw, draw
from videogen.training.encoded_clips import EncodedClips
from videogen.training.finetune_model import Learner, make_learner
from videogen.training.finetune_result import save_result
from videogen.training.finetune_state import load_state, save_state
from videogen.training.optimizers import scale_learning_rates
from videogen.training.state import TrainingLog, learning_rate_at
from videogen.training.world import World

NUM_BINS = 4
"""Noise levels are logged in so many equal parts of [0, 1]."""


@dataclass
class Measured:
    """Of one step, over the whole batch."""

    losses: Tensor = field(default_factory=lambda: torch.zeros(2, NUM_BINS, dtype=torch.float64))
    """Sums of the losses of frames by noise level, and how many frames there were."""
    gradient_norm: float = 0.0

    @property
    def loss(self) -> float:
        return float(self.losses[0].sum() / self.losses[1].sum())

    def by_level(self) -> list[float | None]:
        """Mean losses from the lowest noise levels to the highest; None where no frame had one."""
        return [round(float(s / n), 6) if n else None for s, n in self.losses.T]


def finetune(
    config: FineTuneConfig,
    folder: Path,
    world: World | None = None,
    stop_at: int | None = None,
    on_save: Callable[[int, VideoModel], None] = lambda step, model: None,
    on_step: Callable[[int, Measured], None] = lambda step, measured: None,
) -> None:
    """Fine-tune, or go on with it, in `folder`; its `model` or `lora.safetensors` is the result.

    Args:
        folder: of this worker; those of all workers hold the same checkpoint, or none.
        world: None is that of the default process group.
        stop_at: leave after this step with a checkpoint; the schedule stays that of the config.
        on_save: told the step of every checkpoint once it is written, and the averaged model,
            on the first worker.
        on_step: told of every step, on every worker.

    Raises:
        ConfigError: the data is not there or does not fit the model.
        WeightsError: the model cannot be read, or the checkpoint is of another configuration.
    """
    world = world or World.of_process_group()
    schedule = config.schedule
    torch.set_num_threads(schedule.num_threads)
    clips = EncodedClips(config.data)
    learner = make_learner(config, clips, world)
    folder.mkdir(parents=True, exist_ok=True)
    first_step = load_state(folder, learner.module, learner.averages, learner.optimizers)
    log = TrainingLog(folder, first_step) if world.is_first else None
    last_step = min(schedule.num_steps, stop_at or schedule.num_steps)
    for step in range(first_step, last_step):
        measured = _step(learner, clips, world, step)
        done = step + 1
        on_step(done, measured)
        if log is not None and done % schedule.log_every == 0:
            log.write(
                step=done,
                loss=measured.loss,
                gradient_norm=measured.gradient_norm,
                loss_by_level=measured.by_level(),
            )
        if done % schedule.checkpoint_every == 0 or done == last_step:
            mine = folder if world.is_first else None
            save_state(mine, done, learner.module, learner.averages, learner.optimizers)
            model = save_result(learner, mine)
            if model is not None:
                on_save(done, model)


def _step(learner: Learner, clips: EncodedClips, world: World, step: int) -> Measured:
    config, schedule = learner.config, learner.config.schedule
    drawn = draw(config, clips.buckets, step)
    mine = range(len(drawn.indices))[world.part(len(drawn.indices))]
    size = max(1, -(-len(mine) // config.accumulate))
    parts = [mine[start : start + size] for start in range(0, len(mine), size)]
    scale_learning_rates(learner.optimizers, learner.rates, learning_rate_at(step, schedule))
    for optimizer in learner.optimizers:
        optimizer.zero_grad()
    measured = Measured()
    for number, places in enumerate(parts):
        # Checkpointed blocks compute again in the backward pass, which has to be done alike.
        with learner.synchronised(number == len(parts) - 1), _attention(learner.device):
            by_frame, levels = _losses(learner, clips, drawn, places)
            # Workers average their gradients: of the batch's mean, each has its share.
            share = by_frame.sum() / (len(drawn.indices) * by_frame.shape[1])
            (share * world.size).backward()
        bins = (levels.flatten() * NUM_BINS).long().clamp(max=NUM_BINS - 1)
        for row, values in enumerate((by_frame.detach().cpu(), torch.ones(by_frame.shape))):
            measured.losses[row].index_add_(0, bins, values.flatten().double())
    if world.size > 1:
        dist.all_reduce(measured.losses)
    norm = nn.utils.clip_grad_norm_(learner.parameters, schedule.gradient_clip)
    for optimizer in learner.optimizers:
        optimizer.step()
    learner.averages.update(learner.module, step)
    full = getattr(norm, "full_tensor", None)
    measured.gradient_norm = float(norm if full is None else full())
    return measured


def _losses(
    learner: Learner, clips: EncodedClips, drawn: Draw, places: range
) -> tuple[Tensor, Tensor]:
    """Mean squared errors of the frames of some clips of a batch, and noise levels; `b t` both."""
    device = learner.device
    indices = [drawn.indices[place] for place in places]
    latents = clips.latents(indices)
    noise = torch.stack([drawn.noise(place, latents.shape[1:]) for place in places])
    levels = drawn.levels[places.start : places.stop]
    sigma = learner.path.sigma_at(levels).to(device)
    latents, noise = latents.to(device), noise.to(device)
    captions = [
        "" if drawn.drops[place] else caption
        for place, caption in zip(places, clips.captions(indices), strict=True)
    ]
    noisy = add_noise(learner.path, latents, noise, sigma)
    with torch.autocast(device.type, torch.bfloat16, enabled=learner.config.autocast):
        prediction = learner.forward(noisy, learner.path.timestep(sigma), captions)
    target = training_target(latents, noise, sigma, learner.path, learner.objective)
    return elementwise_loss(prediction, target).mean(dim=(1, 3, 4)), levels


def _attention(device: torch.device) -> AbstractContextManager[object]:
    """On a CPU, over a few frames and tokens, plain products beat the fused backward 1.6 times."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
