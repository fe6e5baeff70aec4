"""A clip in one piece: what fits the model's window, and up to twice as much by stretching RoPE."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from videogen.extension.overlap import overlap_chunk
from videogen.extension.plan import ClipPlan
from videogen.extension.sampler import LatentSampler, OnStep


def whole_clip(
    sampler: LatentSampler,
    plan: ClipPlan,
    first: int,
    kept: Mapping[str, Tensor],
    on_step: OnStep | None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The whole clip as one chunk; see `videogen.extension.methods.MakeChunk`."""
    if kept or plan.num_latents <= plan.trained:
        return overlap_chunk(sampler, plan, first, kept, on_step)
    stretch = {"trained_frames": plan.trained}
    denoiser = sampler.denoiser(first, plan.num_latents, positive=stretch, negative=stretch)
    return sampler.solve(denoiser, first, plan.num_latents, on_step)[0].float(), {}
