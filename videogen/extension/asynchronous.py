"""Frames of a chunk in turns: each stands a few steps behind the one before it.

Earlier frames are nearly done when later ones begin, as in asynchronous sampling of SkyReels-V2 and
the schedules of diffusion forcing (Chen et al. 2407.01392). One Euler step in sigma per turn.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from videogen.diffusion.process import NoisePath, per_frame
from videogen.extension.sampler import LatentSampler, OnStep, Wrap


def sample_in_turns(
    sampler: LatentSampler,
    first: int,
    count: int,
    wrap: Wrap,
    behind: int,
    on_step: OnStep | None = None,
) -> Tensor:
    """Latents `b c t h w`, b = 1, of the frames from `first` on, from noise.

    Args:
        behind: steps that each latent frame trails the one before; 0 is all at once.
        on_step: told (steps done, steps) after each turn, as if all turns were steps.

    Raises:
        NonFiniteError: the result holds NaN or infinity.
    """
    denoiser = sampler.denoiser(first, count, wrap)
    x = sampler.noise("initial", first, count)
    turns = frame_levels(sampler.sigmas.to(sampler.device, torch.float32), count, behind)
    for turn, (now, then) in enumerate(pairwise(turns)):
        denoised = denoiser(x, now[None])
        x = _move(sampler.path, x, now[None], then[None], denoised).to(x.dtype)
        if on_step is not None:
            num_steps, num_turns = len(sampler.sigmas) - 1, len(turns) - 1
            on_step(num_steps * (turn + 1) // num_turns, num_steps)
    return sampler.finite(x)


def frame_levels(sigmas: Tensor, count: int, behind: int) -> Tensor:
    """Noise level of each frame before each turn and after the last one, `turns+1 t`.

    Args:
        sigmas: the schedule, n + 1 falling values.
        count: frames.
        behind: steps that each frame trails the one before.
    """
    num_steps = len(sigmas) - 1
    turns = torch.arange(num_steps + behind * (count - 1) + 1)
    steps = turns[:, None] - behind * torch.arange(count)
    return sigmas[steps.clamp(0, num_steps).to(sigmas.device)]


def _move(path: NoisePath, x: Tensor, now: Tensor, then: Tensor, denoised: Tensor) -> Tensor:
    """An Euler step of each frame from its own level to its own next one, `b t` each."""
    (_, noise), (signal_then, noise_then) = (
        path.coefficients(per_frame(sigma)) for sigma in (now, then)
    )
    signal_now = path.coefficients(per_frame(now))[0]
    ratio = torch.where(noise > 0, noise_then / noise, torch.ones_like(noise))
    return ratio * x + (signal_then - ratio * signal_now) * denoised
