"""Image-to-video chaining: each chunk starts from the last frame of the one before.

That is how models that take a picture were trained, so each chunk is as good as a clip of its own;
the frame that both hold is made twice and kept once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from videogen.extension.plan import ClipPlan
from videogen.extension.sampler import LatentSampler, OnStep
from videogen.models.causal_conv import StreamCache
from videogen.models.protocol import StartsFromPicture
from videogen.models.vae import to_bytes

PICTURE, LEAD = "picture", "lead"
"""What a chunk keeps: the frame that the next one starts from, and its own first latents."""


@runtime_checkable
class DecodesEverywhere(Protocol):
    """A VAE on many ranks that can give frames to all of them."""

    def decode_everywhere(
        self, chunks: Iterable[Tensor], cache: StreamCache | None = None
    ) -> Iterator[Tensor]:
        """What `StreamingVAE.decode_stream` yields on one rank, on every rank."""
        ...


def chained_chunk(
    sampler: LatentSampler,
    plan: ClipPlan,
    first: int,
    kept: Mapping[str, Tensor],
    on_step: OnStep | None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """One chunk; see `videogen.extension.methods.MakeChunk`."""
    count, lead = plan.size(first), min(1, first)
    picture = kept[PICTURE].numpy() if PICTURE in kept else sampler.picture
    assert picture is not None, "the generator gives one to clips that start from it"
    given = _told_of(sampler, picture, lead + count)
    denoiser = sampler.denoiser(first - lead, lead + count, positive=given, negative=given)
    latents = sampler.solve(denoiser, first - lead, lead + count, on_step)[0].float()
    keep = {LEAD: latents[:, :lead]} if lead else {}
    if first + count < plan.num_latents:
        keep[PICTURE] = torch.from_numpy(last_frame(sampler, latents, on_step))
    return latents[:, lead:], keep


def _told_of(sampler: LatentSampler, picture: np.ndarray, num_latents: int) -> dict[str, Any]:
    model = sampler.model
    assert isinstance(model, StartsFromPicture), "its description says so"
    with sampler.vae_visits():
        return model.told_of(picture, model.spec.vae.frames(num_latents))


def last_frame(
    sampler: LatentSampler, latents: Tensor, on_step: OnStep | None = None
) -> np.ndarray:
    """The last frame, uint8 `h w c`, of normalised latents `c t h w` of a whole clip.

    Args:
        on_step: told, while it is decoded, that all steps are done, so that nobody thinks it hangs.
    """
    vae = sampler.model.vae
    decode = vae.decode_everywhere if isinstance(vae, DecodesEverywhere) else vae.decode_stream
    restored = sampler.model.denormalise(latents[None].to(sampler.device))
    restored = restored.to(sampler.vae_dtype or restored.dtype)
    last, steps = restored, sampler.request.num_inference_steps
    with sampler.vae_visits():
        for frames in decode([restored], {}):
            last = frames[0, :, -1]
            if on_step is not None:
                on_step(steps, steps)
    pixels = last if last.dtype == torch.uint8 else to_bytes(last)
    return rearrange(pixels, "c h w -> h w c").contiguous().cpu().numpy()
