"""What long clips send through the model: the stretches that their methods really denoise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from videogen.generator import VideoGenerator
from videogen.loading import load_generator
from videogen.models.spec import read_spec
from videogen_pipelines.estimate import estimate
from videogen_pipelines.plan import ClipShape, Plan
from videogen_pipelines.sharding import ClipKind, clip_demand
from videogen_pipelines.stretches import stretches_of

STEPS = 2


@pytest.fixture(scope="module")
def generator(tiny_model: Path) -> VideoGenerator:
    return load_generator(tiny_model, "cpu", "auto", None)


def lengths_denoised(generator: VideoGenerator, fields: dict[str, Any]) -> list[int]:
    """Latent frames of every forward of the transformer while a clip is made."""
    seen: list[int] = []
    handle = generator.model.dit.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append((args[0] if args else kwargs["x"]).shape[2]),
        with_kwargs=True,
    )
    try:
        request = generator.resolve(prompt="a red circle", guidance_scale=1.0, **fields)
        for _ in generator.stream(request):
            pass
    finally:
        handle.remove()
    return seen


@pytest.mark.parametrize(
    "fields",
    [
        {"num_frames": 5},
        {"num_frames": 21},
        {"num_frames": 22, "chunk_frames": 17, "context_frames": 4},
        {"num_frames": 61, "chunk_frames": 17},
        {"num_frames": 33, "chunk_frames": 13, "extension": "windows"},
        {"num_frames": 25, "chunk_frames": 17, "extension": "none"},
        {"num_frames": 33, "chunk_frames": 25, "loop": True},
        {"num_frames": 29, "chunk_frames": 17, "async_steps": 1},
    ],
)
def test_stretches_are_what_is_denoised(generator: VideoGenerator, fields: dict[str, Any]):
    shape = ClipShape(
        **{"height": 32, "width": 32, "evaluations": STEPS, "is_guided": False, **fields}
    )
    counts = stretches_of(shape, generator.model.spec)
    seen = lengths_denoised(generator, {"num_inference_steps": STEPS, **fields})
    assert {n: round(count * STEPS) for n, count in counts.items()} == {
        n: seen.count(n) for n in set(seen)
    }


def test_long_clips_cost_as_much_per_frame_and_need_no_more_memory(tiny_model: Path):
    spec = read_spec(tiny_model)

    def cost(num_frames: int) -> tuple[float, float, float]:
        plan = Plan()
        plan.shapes[ClipShape(num_frames, 32, 32, 4)] += 1
        found = estimate(plan, spec, flops_per_s=1e9)
        return found.tokens / num_frames, found.flops / num_frames, found.bytes / num_frames

    for short, long in zip(cost(401), cost(4001), strict=True):
        assert long == pytest.approx(short, rel=0.02)

    def demand(num_frames: int) -> Any:
        import torch

        return clip_demand(spec, ClipKind(num_frames, 32, 32, 10, True), torch.float32)

    assert demand(4001).latent_shape == demand(5).latent_shape
    assert demand(5).num_inference_steps == 10
    assert demand(4001).num_inference_steps == pytest.approx(10 * 1000, rel=0.01)
