"""What a video VAE is trained for: weighted L1 + L2, and latents that stay where they should."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videogen.models.vae import VideoVAE
from videogen.training.config import VAETrainConfig
from videogen.training.measured import LOSS


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


class VAELoss(nn.Module):
    """A VAE, called with frames and noise; gives the loss of every clip on its own.

    Args:
        spread: standard deviation of each latent channel, where the encoder is frozen or anchored.
        anchor: the model whose latents those of the encoder shall stay near to.
    """

    def __init__(
        self, vae: VideoVAE, config: VAETrainConfig, spread: Tensor, anchor: VideoVAE | None = None
    ) -> None:
        super().__init__()
        self.vae = vae
        if config.freeze_encoder:
            self._latents = partial(_frozen_latents, spread=spread)
        elif anchor is not None:
            self._latents = partial(_anchored, config=config, spread=spread, anchor=anchor)
        else:
            self._latents = partial(_sample, config=config)
        self._config = config

    def forward(self, frames: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Losses and plain mean squared errors, `b` both.

        Args:
            frames: `b 3 t h w` in [-1, 1].
            noise: of the shape of their latents; standard normal where these are drawn from the
                posterior, in standard deviations of the latents otherwise.
        """
        config = self._config
        with torch.autocast(frames.device.type, torch.bfloat16, enabled=config.autocast):
            latents, divergence = self._latents(self.vae, frames, noise)
            error = self.vae.decode_at_once(latents) - frames
            squared = error.square()
            weighted = edge_weights(frames, config.edge_gain) * (
                error.abs() + config.mse_weight * squared
            )
        losses = _by_clip(weighted) + divergence
        return {LOSS: losses, "mse": _by_clip(squared.detach())}


def _by_clip(values: Tensor) -> Tensor:
    return values.float().flatten(1).mean(dim=1)


def _sample(
    vae: VideoVAE, frames: Tensor, noise: Tensor, config: VAETrainConfig
) -> tuple[Tensor, Tensor]:
    """Latents drawn from the posterior, and what its divergence from a standard normal costs."""
    mean, log_variance = vae.posterior(frames)
    kl = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance)
    return mean + noise * (0.5 * log_variance).exp(), config.kl_weight * _by_clip(kl)


@torch.no_grad()
def _frozen_latents(
    vae: VideoVAE, frames: Tensor, noise: Tensor, spread: Tensor
) -> tuple[Tensor, Tensor]:
    mean = vae.encode(frames)
    return mean + spread * noise, frames.new_zeros(len(frames))


def _anchored(
    vae: VideoVAE,
    frames: Tensor,
    noise: Tensor,
    config: VAETrainConfig,
    spread: Tensor,
    anchor: VideoVAE,
) -> tuple[Tensor, Tensor]:
    """Slightly noisy latents, and what their distance to those of `anchor` costs."""
    mean = vae.encode(frames)
    with torch.no_grad():
        former = anchor.encode(frames)
    distance = _by_clip(((mean - former) / spread).square())
    return mean + spread * noise, config.anchor_weight * distance
