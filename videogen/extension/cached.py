"""Cached rollout: each chunk attends to keys and values of frames before it, computed once.

For factorized causal models. When a chunk is done, one more forward at the level of the context
noise writes its keys and values (as Self-Forcing does, Huang et al. 2506.08009); the first frame
stays as a sink. Both halves of guidance have a cache of their own.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from videogen.diffusion.guidance import one_by_one
from videogen.diffusion.process import add_noise
from videogen.errors import ConfigError
from videogen.extension.anchor import pull_to, statistics_of
from videogen.extension.plan import ClipPlan
from videogen.extension.sampler import LatentSampler, OnStep
from videogen.models.kv_cache import KVCache

SINK_LATENTS = 1
HALVES = ("positive", "negative")


def cached_chunk(
    sampler: LatentSampler,
    plan: ClipPlan,
    first: int,
    kept: Mapping[str, Tensor],
    on_step: OnStep | None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """One chunk; see `videogen.extension.methods.MakeChunk`.

    Raises:
        ConfigError: the halves of guidance, or the tokens, are on several ranks.
    """
    _check_alone(sampler)
    count = plan.size(first)
    caches = {half: _restored(sampler, plan, half, kept) for half in HALVES}
    positive, negative = ({"cache": caches[half]} for half in HALVES)
    denoiser = sampler.denoiser(first, count, positive=positive, negative=negative)
    latents = sampler.solve(denoiser, first, count, on_step)[0].float()
    if "statistics" in kept:
        latents = pull_to(latents, kept["statistics"], plan.anchor)
    _write(sampler, plan, first, latents, caches)
    keep = {
        f"{half}/{name}": tensor.float()
        for half, cache in caches.items()
        for name, tensor in cache.tensors().items()
    }
    if plan.anchor:
        keep["statistics"] = kept.get("statistics", statistics_of(latents))
    return latents, keep


def _restored(
    sampler: LatentSampler, plan: ClipPlan, half: str, kept: Mapping[str, Tensor]
) -> KVCache:
    dit = sampler.model.spec.dit
    depth = dit.depth + dit.detail_depth
    window = max(1, plan.context - SINK_LATENTS)
    cache = KVCache(depth=depth, sink=SINK_LATENTS, window=window)
    prefix = f"{half}/"
    mine = {n.removeprefix(prefix): t for n, t in kept.items() if n.startswith(prefix)}
    cache.restore({n: t.to(sampler.device, sampler.dtype) for n, t in mine.items()})
    return cache


def _write(
    sampler: LatentSampler,
    plan: ClipPlan,
    first: int,
    latents: Tensor,
    caches: Mapping[str, KVCache],
) -> None:
    """Have the caches keep the frames of a chunk that is done."""
    noise = sampler.noise("context", first, latents.shape[1])
    sigma = sampler.path.sigma_at(torch.tensor(plan.context_noise)).to(noise)
    noisy = add_noise(sampler.path, latents[None].to(noise), noise, sigma)
    last = first + latents.shape[1] - 1
    for cache in caches.values():
        cache.is_writing = True
    sampler.conditioned_on(sampler.prompts.at(last), cache=caches["positive"])(noisy, sigma)
    if {sampler.request.guidance_scale, sampler.request.context_guidance} - {1, None}:
        sampler.avoiding(cache=caches["negative"])(noisy, sigma)


def _check_alone(sampler: LatentSampler) -> None:
    if sampler.halves is not one_by_one:
        raise ConfigError(
            "extension: got 'cached' with the halves of guidance on several ranks, expected one "
            "rank, because each half keeps what it has seen. Fix: use cfg_degree 1."
        )
