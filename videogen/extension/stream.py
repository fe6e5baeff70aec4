"""A clip as a stream of chunks, from its start or from a saved state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from videogen.extension.chained import LEAD
from videogen.extension.methods import METHODS
from videogen.extension.plan import ClipPlan, plan_clip
from videogen.extension.sampler import LatentSampler, OnStep
from videogen.extension.state import Chunk, StreamState, fingerprint
from videogen.models.causal_conv import StreamCache
from videogen.models.protocol import StreamingVAE


def stream_chunks(
    sampler: LatentSampler,
    state: StreamState | None = None,
    on_step: OnStep | None = None,
    start: Tensor | None = None,
) -> Iterator[Chunk]:
    """Make the chunks of a clip that come after `state`.

    Args:
        on_step: told (steps done, steps) of the whole clip, chunks before `state` included.
        start: normalised latents `c t h w` that the clip starts with; not needed with a state.

    Raises:
        InvalidRequestError: the state is that of another clip, or the model cannot make the clip.
        NonFiniteError: latents hold NaN or infinity.
    """
    spec = sampler.model.spec
    plan, clip = plan_clip(spec, sampler.request), fingerprint(spec, sampler.request)
    if state is None:
        state = StreamState(clip, num_chunks=0, next_latent=0)
        given = start
    else:
        state.check(clip)
        given = None
    num_chunks = plan.num_chunks(0 if start is None else start.shape[1])
    while state.next_latent < plan.num_latents:
        told = _of_clip(on_step, state.num_chunks, num_chunks)
        chunk = _next_chunk(sampler, plan, state, given, told)
        given, state = None, chunk.state
        yield chunk


@torch.no_grad()  # not inference_mode: FSDP counts versions of the weights it gathers
def _next_chunk(
    sampler: LatentSampler,
    plan: ClipPlan,
    state: StreamState,
    given: Tensor | None,
    on_step: OnStep | None,
) -> Chunk:
    vae = sampler.model.spec.vae
    first = state.next_latent
    kept = dict(state.tensors) if given is None else {"tail": given}
    made_before = first if given is None else given.shape[1]
    latents, keep = METHODS[plan.method](sampler, plan, made_before, kept, on_step)
    lead = keep.pop(LEAD, None)
    if given is not None:
        latents = torch.cat([given.to(latents), latents], dim=1)
    after = first + latents.shape[1]
    mine = latents.cpu()
    tail = torch.cat([kept["tail"], mine], dim=1) if given is None and "tail" in kept else mine
    length = max(plan.context, vae.decoder_past)
    keep["tail"] = tail[:, -length:]
    keep = {name: tensor.cpu().clone() for name, tensor in keep.items()}
    end = min(vae.frames(after), sampler.request.num_frames)
    return Chunk(
        latents=latents,
        index=state.num_chunks,
        first_latent=first,
        num_frames=end - vae.frames(first),
        is_last=after == plan.num_latents,
        state=replace(state, num_chunks=state.num_chunks + 1, next_latent=after, tensors=keep),
        lead=lead,
    )


@torch.inference_mode()
def rebuild_cache(vae: StreamingVAE, tail: Tensor) -> StreamCache:
    """What decoding up to and including `tail` leaves, from those latents alone.

    Args:
        tail: latents `b c t h w` as the VAE takes them: the clip from its start, or at least
            `VAEConfig.decoder_past` latent frames.
    """
    cache: StreamCache = {}
    for _ in vae.decode_stream([tail], cache):
        pass
    return cache


def _of_clip(on_step: OnStep | None, chunks_before: int, num_chunks: int) -> OnStep | None:
    """Tell `on_step` about the steps of a chunk as steps of the clip."""
    if on_step is None:
        return None
    return lambda done, steps: on_step(chunks_before * steps + done, num_chunks * steps)
