"""Windowed co-denoising: all frames at once, in windows that overlap, averaged at every step.

MultiDiffusion in time with the reused noise and triangular weights of FreeNoise (Qiu et al.
2310.15169). Needs no training and no noise level per frame, so it suits any model; the latents of
the whole clip are in memory, the activations of one window.

A window of one latent frame is denoising frame by frame: attention in time sees the frame alone,
and each frame has its own noise.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from videogen.diffusion.denoiser import Denoiser
from videogen.extension.plan import ClipPlan
from videogen.extension.sampler import LatentSampler, OnStep
from videogen.seeds import shuffled


def windows_chunk(
    sampler: LatentSampler,
    plan: ClipPlan,
    first: int,
    kept: Mapping[str, Tensor],
    on_step: OnStep | None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The whole clip, which is one chunk; see `videogen.extension.methods.MakeChunk`."""
    count, stride = plan.num_latents, plan.window - plan.context
    starts = window_starts(count, plan.window, stride)
    scale = sampler.request.guidance_scale  # all start from noise; none goes on from another
    denoisers = [sampler.denoiser(start, plan.window, scale=scale) for start in starts]
    if plan.window == 1:
        x = sampler.noise("initial", 0, count)
    else:
        order = noise_order(sampler.request.seed, count, plan.window, stride)
        x = sampler.noise("initial", 0, plan.window)[:, :, order]
    denoiser = averaged(denoisers, starts, plan.window, sampler)
    return sampler.solve(denoiser, first, count, on_step, initial=x)[0].float(), {}


def averaged(
    denoisers: list[Denoiser], starts: list[int], window: int, sampler: LatentSampler
) -> Denoiser:
    """One denoiser of a whole clip, from one for each window of it."""
    weights = triangle(window)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        parts = sampler.spread(
            [
                lambda denoiser=denoiser, start=start: denoiser(
                    x[:, :, start : start + window], sigma
                )
                for denoiser, start in zip(denoisers, starts, strict=True)
            ]
        )
        total, weight = torch.zeros_like(x), x.new_zeros(x.shape[2])
        shares = weights.to(x)
        for part, start in zip(parts, starts, strict=True):
            total[:, :, start : start + window] += shares[:, None, None] * part
            weight[start : start + window] += shares
        return total / weight[:, None, None]

    return denoise


def window_starts(count: int, window: int, stride: int) -> list[int]:
    """First frames of windows that cover `count` frames; the last one ends where the clip does."""
    return [*range(0, count - window, stride), count - window]


def triangle(window: int) -> Tensor:
    """Weights that rise to the middle of a window and fall again: 1, 2, …, 2, 1."""
    index = torch.arange(window)
    return torch.minimum(index, window - 1 - index).float() + 1


def noise_order(seed: int, count: int, window: int, stride: int) -> list[int]:
    """For each frame, the frame of the first window whose noise it takes.

    Each stretch of `stride` frames takes the noise of the stretch one window before, shuffled, so
    that all windows start from much the same noise (Qiu et al.).
    """
    order = list(range(min(window, count)))
    while len(order) < count:
        stretch = order[len(order) - window :][:stride]
        order += shuffled(stretch, seed, len(order))
    return order[:count]
