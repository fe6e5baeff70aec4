"""Overlap extension: each chunk is denoised with the last frames made before it, lightly noised.

The model is told the level of that noise through its per-frame timesteps, as SkyReels-V2 does on
a model trained by diffusion forcing (Chen et al. 2407.01392). Frames stand at the places 0, 1, …
of their window, so any length stays within what the model was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from videogen.diffusion.context import between
from videogen.diffusion.denoiser import Denoiser
from videogen.diffusion.process import add_noise
from videogen.extension.anchor import pull_to, statistics_of
from videogen.extension.asynchronous import sample_in_turns
from videogen.extension.plan import ClipPlan
from videogen.extension.sampler import LatentSampler, OnStep


def overlap_chunk(
    sampler: LatentSampler,
    plan: ClipPlan,
    first: int,
    kept: Mapping[str, Tensor],
    on_step: OnStep | None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """One chunk; see `videogen.extension.methods.MakeChunk`."""
    latents = _new_latents(sampler, plan, first, kept, on_step)
    return latents, _keep(plan, latents, kept)


def _new_latents(
    sampler: LatentSampler,
    plan: ClipPlan,
    first: int,
    kept: Mapping[str, Tensor],
    on_step: OnStep | None,
) -> Tensor:
    count = plan.size(first)
    context = kept["tail"][:, -plan.context :] if "tail" in kept else None
    if context is None:
        return sampler.sample(first, count, on_step=on_step)[0].float()
    start = first - context.shape[1]
    sigma = sampler.path.sigma_at(torch.tensor(plan.context_noise)).to(sampler.device)
    before = _noised(sampler, context, start, sigma)
    is_last = first + count == plan.num_latents
    head = _head(plan, kept) if is_last else context[:, :0]
    after = _noised(sampler, head, first + count, sigma)

    def wrap(denoiser: Denoiser) -> Denoiser:
        return between(denoiser, before, after, sigma)

    if plan.async_steps:
        latents = sample_in_turns(sampler, first, count, wrap, plan.async_steps, on_step)
    else:
        latents = sampler.sample(first, count, wrap, on_step)
    latents = latents[0].float()
    return pull_to(latents, kept["statistics"], plan.anchor) if "statistics" in kept else latents


def _head(plan: ClipPlan, kept: Mapping[str, Tensor]) -> Tensor:
    """What the last chunk leads up to, `c t h w`, t may be 0.

    Where none was kept yet, the tail is all of the clip before, as it was given.
    """
    return kept["head"] if "head" in kept else kept["tail"][:, 1 : 1 + plan.ahead]


def _noised(sampler: LatentSampler, latents: Tensor, first: int, sigma: Tensor) -> Tensor:
    """Known latents `c t h w`, t may be 0, as the model is given them, `b c t h w`."""
    if latents.shape[1] == 0:
        return latents[None].to(sampler.device, sampler.dtype)
    noise = sampler.noise("context", first, latents.shape[1])
    return add_noise(sampler.path, latents[None].to(noise), noise, sigma.to(noise))


def _keep(plan: ClipPlan, latents: Tensor, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What later chunks need of the first one."""
    keep = {name: tensor for name, tensor in kept.items() if name != "tail"}
    if "tail" in kept:
        latents = torch.cat([kept["tail"].to(latents), latents], dim=1)
    if plan.anchor and "statistics" not in keep:
        keep["statistics"] = statistics_of(latents)
    if plan.ahead:
        keep["head"] = _head(plan, {**keep, "tail": latents})
    return keep
