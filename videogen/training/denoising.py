"""The loss of a transformer that learns to denoise latents, with a noise level for every frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from videogen.diffusion.objectives import Objective, elementwise_loss, training_target
from videogen.diffusion.process import NoisePath, add_noise
from videogen.models.block_lists import blocks_of
from videogen.models.text import padded
from videogen.training.measured import LOSS

NUM_BINS = 4
"""Noise levels are logged in so many equal parts of [0, 1]."""
BY_LEVEL = "loss_by_level"


class Prompted(nn.Module):
    """A transformer and what reads its prompts; a text encoder that is a child is trained too.

    Args:
        num_tokens: what prompts are padded to, so that compiled blocks see one shape.
    """

    def __init__(
        self, dit: nn.Module, text: Any, *, trains_text: bool, num_tokens: int | None = None
    ) -> None:
        super().__init__()
        self.dit = dit
        self.text = text if trains_text else None
        self._read = partial(_encode, text, trains_text)
        self._num_tokens = num_tokens

    def told(self, prompts: Sequence[str]) -> Any:
        """Encoded prompts."""
        text = self._read(prompts)
        return text if self._num_tokens is None else padded(text, self._num_tokens)


class Conditioned(Prompted):
    """Predicts for noisy latents and their prompts."""

    def forward(self, noisy: Tensor, timesteps: Tensor, prompts: Sequence[str]) -> Tensor:
        return self.dit(noisy, timesteps, text=self.told(prompts))


def _encode(text: Any, is_trained: bool, prompts: Sequence[str]) -> Any:
    if is_trained:
        return text.encode(prompts)
    with torch.no_grad():
        return text.encode(prompts)


@dataclass(frozen=True)
class NoisyClips:
    """Some samples of a batch.

    Attributes:
        latents, noise: `b c t h w`, on the CPU.
        levels: in [0, 1], `b t`.
        counted: frames whose loss counts, bool `b t`.
    """

    latents: Tensor
    noise: Tensor
    levels: Tensor
    captions: Sequence[str]
    counted: Tensor


@dataclass(frozen=True)
class Denoising:
    """How a model takes noise: a path, what it predicts, and whether in bfloat16."""

    path: NoisePath
    objective: Objective
    autocast: bool = False

    def losses(
        self,
        forward: Callable[..., Tensor],
        device: torch.device,
        clips: NoisyClips,
        num_counted: int,
    ) -> dict[str, Tensor]:
        """Mean squared errors of frames, as `videogen.training.loop.Stage.losses` wants them.

        Args:
            num_counted: frames of the whole batch whose loss counts.
        """
        sigma = self.path.sigma_at(clips.levels).to(device)
        latents, noise = clips.latents.to(device), clips.noise.to(device)
        noisy = add_noise(self.path, latents, noise, sigma)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.autocast):
            prediction = forward(noisy, self.path.timestep(sigma), clips.captions)
        target = training_target(latents, noise, sigma, self.path, self.objective)
        by_frame = elementwise_loss(prediction, target).mean(dim=(1, 3, 4))
        counted = clips.counted.to(device, by_frame.dtype)
        by_frame = by_frame * counted
        bins = (clips.levels.to(device).flatten() * NUM_BINS).long().clamp(max=NUM_BINS - 1)
        by_level = torch.zeros(2, NUM_BINS, dtype=torch.float64, device=device)
        for row, values in enumerate((by_frame.detach(), counted)):
            by_level[row].index_add_(0, bins, values.flatten().double())
        return {LOSS: by_frame.sum() / num_counted, BY_LEVEL: by_level}


def attention(device: torch.device) -> AbstractContextManager[object]:
    """On a CPU, over a few frames and tokens, plain products beat the fused backward 1.6 times."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def checkpoint_blocks(dit: nn.Module) -> None:
    """Keep only what enters each block and compute the rest again in the backward pass."""
    for block in blocks_of(dit):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
