"""Where the chunks of a long clip meet: the frames at which seams are looked for."""

from __future__ import annotations

from videogen.extension.plan import plan_clip
from videogen.models.protocol import ClipSpec
from videogen.requests import ClipRequest


def chunk_starts(spec: ClipSpec, request: ClipRequest) -> tuple[int, ...]:
    """First frame of every chunk but the first; empty for a clip made at once."""
    plan = plan_clip(spec, request)
    starts: list[int] = []
    latent = plan.size(0)
    while latent < plan.num_latents:
        starts.append(spec.vae.frames(latent))
        latent += plan.size(latent)
    return tuple(start for start in starts if start < request.num_frames)
