"""What goes through the model for a clip: latent frames together, and how often, at each step."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from videogen.extension.plan import ClipPlan, plan_clip
from videogen.requests import ClipRequest
from videogen_pipelines.plan import ClipShape

if TYPE_CHECKING:
    from videogen.models.published import AnySpec


def stretches_of(shape: ClipShape, spec: AnySpec) -> dict[int, float]:
    """Latent frames that are denoised together -> how often that is done for each step of the clip.

    Raises:
        InvalidRequestError: the model cannot make such a clip.
    """
    return stretches(plan_clip(spec, _stand_in(shape)), shape.num_steps)


def stretches(plan: ClipPlan, num_steps: int) -> dict[int, float]:
    """See `stretches_of`; those of a chunk are its own latent frames and those it is given."""
    if plan.method == "windows" and plan.num_latents > plan.window:
        stride = plan.window - plan.context
        return {plan.window: len(range(0, plan.num_latents - plan.window, stride)) + 1}
    counts: defaultdict[int, float] = defaultdict(float)
    first = 0
    while first < plan.num_latents:
        size = plan.size(first)
        given = 0 if plan.method == "cached" else min(first, plan.context)
        ahead = plan.ahead if first and first + size == plan.num_latents else 0
        # Frames that trail each other take more turns than there are steps.
        turns = plan.async_steps * (size - 1) / num_steps if first else 0
        counts[given + size + ahead] += 1 + turns
        first += size
    return dict(counts)


def _stand_in(shape: ClipShape) -> ClipRequest:
    """A request of that shape, whatever it shows."""
    return ClipRequest(
        id="shape",
        prompt="",
        seed=0,
        num_frames=shape.num_frames,
        height=shape.height,
        width=shape.width,
        fps=1.0,
        num_inference_steps=1,
        guidance_scale=1.0,
        sampler="euler",
        extension=shape.extension,
        chunk_frames=shape.chunk_frames,
        context_frames=shape.context_frames,
        async_steps=shape.async_steps,
        image="shape" if shape.has_start else None,
        loop=shape.loop,
    )
