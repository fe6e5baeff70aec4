"""Plans: every frame is made once, in windows that fit, or a sentence says why not."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from videogen.errors import InvalidRequestError
from videogen.extension.plan import ClipPlan, plan_clip
from videogen.models.spec import ModelSpec, read_spec
from videogen.requests import make_request

BASE: dict[str, Any] = {
    "id": "a",
    "prompt": "red",
    "seed": 1,
    "num_frames": 100,
    "height": 32,
    "width": 32,
    "fps": 10,
    "num_inference_steps": 2,
    "guidance_scale": 3,
    "sampler": "euler",
    "chunk_frames": 33,
}


@pytest.fixture(scope="module")
def spec(tiny_model: Path) -> ModelSpec:
    return read_spec(tiny_model)


def plan_of(spec: ModelSpec, **fields: Any) -> ClipPlan:
    return plan_clip(spec, make_request(BASE | fields))


@given(
    num_latents=st.integers(1, 60),
    window=st.integers(2, 12),
    share=st.floats(0, 0.99),
    ahead=st.sampled_from([0, 2]),
    given_latents=st.integers(0, 4),
)
@example(num_latents=5, window=9, share=0.34, ahead=2, given_latents=1)
def test_chunks_cover_the_clip_and_fit_the_window(
    num_latents: int, window: int, share: float, ahead: int, given_latents: int
) -> None:
    context = max(1, int(share * window))
    if given_latents > min(context, num_latents - 1):
        return
    if ahead and (window <= context + ahead or num_latents < ahead + 2):
        return
    plan = ClipPlan("overlap", num_latents, window, window, context, 0.1, 0, 0.0, ahead)
    first, sizes = given_latents, []
    while first < num_latents:
        size = plan.size(first)
        known = min(first, context) + (ahead if first + size == num_latents and first else 0)
        assert size >= 1 and (size + known <= window or first == 0)
        sizes.append(size)
        first += size
    assert first == num_latents
    assert plan.num_chunks(given_latents) == len(sizes)
    if ahead:
        before_last = num_latents - sizes[-1]
        assert before_last >= 1 + ahead  # the last chunk leads up to latents that are there
        assert len(sizes) > 1 or given_latents == before_last


@pytest.mark.parametrize(
    ("fields", "method"),
    [
        ({}, "overlap"),
        ({"num_frames": 33}, "none"),
        ({"num_frames": 7}, "none"),
        ({"extension": "none", "num_frames": 65}, "none"),
        ({"extension": "windows"}, "windows"),
        ({"loop": True, "num_frames": 32}, "overlap"),
        ({"image": "a.png", "num_frames": 33}, "overlap"),
    ],
)
def test_the_method_follows_from_model_and_request(
    spec: ModelSpec, fields: dict[str, Any], method: str
) -> None:
    assert plan_of(spec, **fields).method == method


def test_models_with_one_noise_level_get_windows(spec: ModelSpec) -> None:
    class OtherConfig:
        """A transformer of another family."""

        patch = spec.dit.patch

    other = dataclasses.replace(spec, dit=OtherConfig())
    assert plan_of(other).method == "windows"
    with pytest.raises(InvalidRequestError, match="extension: got 'overlap' for tiny, expected"):
        plan_of(other, extension="overlap")


def test_a_causal_model_may_keep_what_it_has_seen(spec: ModelSpec) -> None:
    causal = dataclasses.replace(spec, dit=dataclasses.replace(spec.dit, causal=True))
    assert plan_of(causal, extension="cached").method == "cached"


@pytest.mark.parametrize(
    ("frames", "latents"), [(None, 3), (1, 1), (4, 1), (5, 2), (16, 4), (32, 8)]
)
def test_context_frames_are_whole_latent_frames(
    spec: ModelSpec, frames: int | None, latents: int
) -> None:
    assert plan_of(spec, context_frames=frames).context == latents


def test_windows_may_be_one_frame_that_shares_nothing(spec: ModelSpec) -> None:
    plan = plan_of(spec, extension="windows", chunk_frames=1)
    assert (plan.method, plan.window, plan.context) == ("windows", 1, 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"extension": "cached"}, "extension: got 'cached' for tiny, expected a model whose"),
        ({"chunk_frames": 30}, r"chunk_frames: got 30, expected 4n\+1 .* \(29, 33\)"),
        ({"chunk_frames": 1}, r"chunk_frames: got 1, expected 4n\+1 of at least 5 \(5, 9\)"),
        ({"context_frames": 33}, "context_frames: got 33, expected at most 32"),
        ({"extension": "none"}, "num_frames: got 100, expected at most 69 with extension 'none'"),
        ({"extension": "windows", "loop": True}, "loop: got True with extension 'windows'"),
        ({"extension": "windows", "async_steps": 2}, "async_steps: got 2 with extension"),
        ({"extension": "none", "num_frames": 33, "image": "a"}, "image: got 'a' with extension"),
        ({"num_frames": 1, "image": "a"}, "num_frames: got 1 with image"),
        ({"async_steps": 2, "sampler": "unipc"}, "async_steps: got 2 with sampler 'unipc'"),
        (
            {"async_steps": 2, "sampler": "ddim", "eta": 0.5},
            "eta: got 0.5 with async_steps 2, expected 0",
        ),
        ({"loop": True, "num_frames": 62}, r"num_frames: got 62, .* \(60, 61, 64\) with loop"),
        ({"loop": True, "num_frames": 9}, r"num_frames: got 9, .* \(16, 17, 20\) with loop"),
        ({"loop": True, "chunk_frames": 9}, "loop: got a window of 3 latent frames"),
    ],
)
def test_what_cannot_be_made_says_why_and_what_can(
    spec: ModelSpec, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        plan_of(spec, **fields)
