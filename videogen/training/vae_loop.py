"""Train the video VAE on rendered clips: weighted L1 + L2 with a small KL term."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from videogen.models.spec import LatentStatistics
from videogen.models.vae import VideoVAE
from videogen.models.weights import read_vae_weights, save_vae
from videogen.training.clips import numbered_scene, render_batch
from videogen.training.config import VAETrainConfig
from videogen.training.optimizers import make_kernel_optimizers, scale_learning_rates
from videogen.training.state import (
    AveragedModel,
    TrainingLog,
    learning_rate_at,
    load_checkpoint,
    normal_like,
    save_checkpoint,
)

VALIDATION_SEED = 1_000_003


def edge_weights(frames: Tensor, gain: float) -> Tensor:
    """Per-pixel loss weights `b 1 t h w`, 1 on flat areas up to 1 + gain on full-contrast edges.

    Args:
        frames: `b c t h w` in [-1, 1].
    """
    down = (frames[..., 1:, :] - frames[..., :-1, :]).abs().amax(dim=1, keepdim=True)
    across = (frames[..., 1:] - frames[..., :-1]).abs().amax(dim=1, keepdim=True)
    sides = [
        F.pad(down, (0, 0, 1, 0)),
        F.pad(down, (0, 0, 0, 1)),
        F.pad(across, (1, 0)),
        F.pad(across, (0, 1)),
    ]
    contrast = torch.stack(sides).amax(dim=0).clamp(max=1.0)
    return 1.0 + gain * contrast


def vae_loss(
    vae: VideoVAE, frames: Tensor, config: VAETrainConfig, anchor: VideoVAE | None = None
) -> tuple[Tensor, Tensor]:
    """Training loss of frames `b 3 t h w` in [-1, 1], and the plain mean squared error.

    Args:
        anchor: the model whose latents those of the encoder shall stay near to.
    """
    if config.freeze_encoder:
        latents, divergence = _frozen_latents(vae, frames, config), frames.new_zeros(())
    elif anchor is not None:
        latents, divergence = _anchored(vae, frames, config, anchor)
    else:
        latents, divergence = _sample(vae, frames, config)
    error = vae.decode_at_once(latents) - frames
    weights = edge_weights(frames, config.edge_gain)
    squared = error.square()
    reconstruction = (weights * (error.abs() + config.mse_weight * squared)).mean()
    return reconstruction + divergence, squared.mean().detach()


def _anchored(
    vae: VideoVAE, frames: Tensor, config: VAETrainConfig, anchor: VideoVAE
) -> tuple[Tensor, Tensor]:
    """Slightly noisy latents, and what their distance to those of `anchor` costs."""
    mean = vae.encode(frames)
    with torch.no_grad():
        former = anchor.encode(frames)
    spread = former.std(dim=(0, 2, 3, 4), keepdim=True)
    distance = ((mean - former) / spread).square().mean()
    return mean + config.latent_noise * spread * normal_like(mean), config.anchor_weight * distance


def _sample(vae: VideoVAE, frames: Tensor, config: VAETrainConfig) -> tuple[Tensor, Tensor]:
    """Latents drawn from the posterior, and what its divergence from a standard normal costs."""
    mean, log_variance = vae.posterior(frames)
    kl = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).mean()
    return mean + normal_like(mean) * (0.5 * log_variance).exp(), config.kl_weight * kl


@torch.no_grad()
def _frozen_latents(vae: VideoVAE, frames: Tensor, config: VAETrainConfig) -> Tensor:
    mean = vae.encode(frames)
    spread = mean.std(dim=(0, 2, 3, 4), keepdim=True)
    return mean + config.latent_noise * spread * normal_like(mean)


@torch.no_grad()
def reconstruction_psnr(vae: VideoVAE, frames: Tensor) -> float:
    """PSNR in dB, over all pixels, of frames `b 3 t h w` in [-1, 1] encoded and decoded."""
    restored = vae.decode_at_once(vae.encode(frames)).clamp(-1.0, 1.0)
    mse = (restored - frames).square().mean() / 4.0
    return float(-10.0 * torch.log10(mse))


@torch.no_grad()
def latent_statistics(vae: VideoVAE, frames: Tensor) -> LatentStatistics:
    """Mean and standard deviation of each latent channel over frames `b 3 t h w`."""
    latents = vae.encode(frames).transpose(0, 1).flatten(1)
    mean, std = latents.mean(dim=1), latents.std(dim=1)
    return LatentStatistics(mean=tuple(mean.tolist()), std=tuple(std.tolist()))


def train_vae(config: VAETrainConfig, folder: Path, stop_at: int | None = None) -> VideoVAE:
    """Train, or go on training, in `folder`.

    Args:
        stop_at: leave after this step with a checkpoint; the schedule stays that of the config.

    Returns:
        The averaged model; `folder/model` holds it as a VAE folder.

    Raises:
        WeightsError: `folder` holds a checkpoint of another configuration.
    """
    schedule = config.schedule
    torch.set_num_threads(schedule.num_threads)
    torch.manual_seed(schedule.seed)
    vae = VideoVAE(config.vae)
    statistics = _start_from(vae, config)
    vae.to(schedule.device)
    average = AveragedModel(vae, schedule.ema_decay)
    anchor = copy.deepcopy(vae).requires_grad_(False) if config.anchor_weight else None
    rates = (config.muon_learning_rate, schedule.learning_rate)
    optimizers = make_kernel_optimizers(vae, schedule.learning_rate, config.muon_learning_rate)
    vae.encoder.requires_grad_(not config.freeze_encoder)
    modules = {"vae": vae, "average": average.model}
    first_step = load_checkpoint(folder, modules, optimizers)
    log = TrainingLog(folder)
    validation = _clips(config, VALIDATION_SEED, 0, config.validation_clips, "held_out")

    last_step = min(schedule.num_steps, stop_at or schedule.num_steps)
    for step in range(first_step, last_step):
        factor = learning_rate_at(step, schedule)
        scale_learning_rates(optimizers, rates[-len(optimizers) :], factor)
        size = schedule.batch_size
        frames = _clips(config, schedule.seed, step * size, size, "train")
        with torch.autocast(frames.device.type, torch.bfloat16, enabled=config.autocast):
            loss, mse = vae_loss(vae, frames, config, anchor)
        vae.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(vae.parameters(), schedule.gradient_clip)
        for optimizer in optimizers:
            optimizer.step()
        average.update(vae, step)
        done = step + 1
        if done % schedule.log_every == 0:
            log.write(
                step=done, loss=float(loss.detach()), mse=float(mse), gradient_norm=float(norm)
            )
        if done % schedule.checkpoint_every == 0 or done == last_step:
            log.write(step=done, psnr_db=reconstruction_psnr(average.model, validation))  # pyright: ignore[reportArgumentType]
            save_checkpoint(folder, done, modules, optimizers)
            measured = statistics or latent_statistics(average.model, validation)  # pyright: ignore[reportArgumentType]
            save_vae(folder / "model", average.model, measured)  # pyright: ignore[reportArgumentType]
    return average.model  # pyright: ignore[reportReturnType]


def _start_from(vae: VideoVAE, config: VAETrainConfig) -> LatentStatistics | None:
    """Copy what fits of `config.start_from`; its statistics still hold if the encoder is frozen."""
    if not config.start_from:
        return None
    weights, statistics = read_vae_weights(Path(config.start_from))
    own = vae.state_dict()
    fitting = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
    vae.load_state_dict({**own, **fitting})
    return statistics if config.freeze_encoder else None


def _clips(config: VAETrainConfig, seed: int, first: int, count: int, split: str) -> Tensor:
    scenes = [
        numbered_scene(seed, index, config.worlds, split)  # pyright: ignore[reportArgumentType]
        for index in range(first, first + count)
    ]
    return render_batch(scenes, config.num_frames, config.size).to(config.schedule.device)
