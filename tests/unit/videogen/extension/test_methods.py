"""What each method promises: windows, turns, anchors, loops."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import videogen
from videogen.extension.anchor import pull_to, statistics_of
from videogen.extension.asynchronous import frame_levels
from videogen.extension.sampler import in_turn
from videogen.extension.windows import noise_order, triangle, window_starts
from videogen.generator import VideoGenerator
from videogen.models.dit import SpacetimeDiT

SMALL = {"id": "a", "prompt": "red", "seed": 5, "height": 16, "width": 16, "chunk_frames": 17}


@pytest.fixture(scope="module")
def pipe(tiny_model: Path) -> VideoGenerator:
    return videogen.load(str(tiny_model), device="cpu")


@pytest.fixture(scope="module")
def causal(tiny_model: Path) -> VideoGenerator:
    pipe = videogen.load(str(tiny_model), device="cpu")
    spec = dataclasses.replace(
        pipe.spec, dit=dataclasses.replace(pipe.spec.dit, causal=True, rope_theta=100.0)
    )
    dit = SpacetimeDiT(spec.dit).eval()
    dit.load_state_dict(pipe.model.dit.state_dict())
    pipe.model, pipe.spec = dataclasses.replace(pipe.model, spec=spec, dit=dit), spec
    return pipe


def test_windows_cover_the_clip_and_weigh_most_in_their_middle() -> None:
    assert window_starts(12, 5, 3) == [0, 3, 6, 7]
    assert window_starts(5, 5, 3) == [0]
    assert triangle(5).tolist() == [1, 2, 3, 2, 1]
    assert triangle(4).tolist() == [1, 2, 2, 1]


def test_every_window_starts_from_the_same_noise_in_another_order() -> None:
    order = noise_order(7, 40, 8, 4)
    assert order[:8] == list(range(8))
    assert all(sorted(order[start : start + 8]) == list(range(8)) for start in range(0, 36, 4))
    assert order[8:16] != order[:8]
    assert order[:20] == noise_order(7, 20, 8, 4)
    assert order != noise_order(8, 40, 8, 4)


def test_windows_of_a_clip_that_fits_are_the_clip(pipe: VideoGenerator) -> None:
    whole = pipe.denoise(pipe.resolve(**SMALL, num_frames=17))
    windowed = pipe.denoise(pipe.resolve(**SMALL, num_frames=21, extension="windows"))
    assert windowed.shape[1] == 6
    assert not torch.allclose(windowed[:, :5], whole)
    assert torch.equal(
        whole, pipe.denoise(pipe.resolve(**SMALL, num_frames=17, extension="windows"))
    )


def test_no_window_goes_on_from_another(pipe: VideoGenerator) -> None:
    fields = {**SMALL, "num_frames": 33, "extension": "windows"}
    plain, other = (pipe.resolve(**fields, context_guidance=scale) for scale in (None, 1.0))
    assert pipe.resolve(**fields).guidance_scale > 1
    assert torch.equal(pipe.denoise(plain), pipe.denoise(other))


def test_windows_of_one_frame_denoise_each_for_itself(pipe: VideoGenerator) -> None:
    alone = SMALL | {"chunk_frames": 1, "extension": "windows"}
    three = pipe.denoise(pipe.resolve(**alone, num_frames=9))
    five = pipe.denoise(pipe.resolve(**alone, num_frames=17))
    torch.testing.assert_close(three, five[:, :3])
    torch.testing.assert_close(three[:, :1], pipe.denoise(pipe.resolve(**SMALL, num_frames=1)))
    assert not torch.allclose(five, pipe.denoise(pipe.resolve(**SMALL, num_frames=17)))


def test_tasks_of_windows_may_be_computed_anywhere(pipe: VideoGenerator) -> None:
    request = pipe.resolve(**SMALL, num_frames=61, extension="windows")
    expected = pipe.denoise(request)
    counts = []

    def backwards(tasks):
        counts.append(len(tasks))
        return [task() for task in tasks[::-1]][::-1]

    pipe.spread = backwards
    try:
        assert torch.equal(pipe.denoise(request), expected)
    finally:
        pipe.spread = in_turn
    assert set(counts) == {len(window_starts(16, 5, 3))}


def test_a_clip_in_one_piece_is_stretched(pipe: VideoGenerator) -> None:
    request = pipe.resolve(**SMALL, num_frames=33, extension="none")
    wide = pipe.resolve(**SMALL | {"chunk_frames": 33}, num_frames=33)
    stretched, plain = pipe.denoise(request), pipe.denoise(wide)
    assert stretched.shape == plain.shape
    assert not torch.allclose(stretched, plain)


def test_frames_take_their_turns() -> None:
    sigmas = torch.tensor([1.0, 0.6, 0.3, 0.0])
    levels = frame_levels(sigmas, count=3, behind=2)
    assert levels.shape == (8, 3)
    assert levels[0].tolist() == [1, 1, 1]
    assert levels[-1].tolist() == [0, 0, 0]
    torch.testing.assert_close(levels[3], torch.tensor([0.0, 0.6, 1.0]))
    assert (levels.diff(dim=0) <= 0).all()


def test_turns_without_a_delay_are_the_plain_solver(pipe: VideoGenerator) -> None:
    request = pipe.resolve(**SMALL, num_frames=33, guidance_scale=1.0)
    late = pipe.denoise(request.model_copy(update={"async_steps": 1}))
    from videogen.extension import asynchronous, overlap

    def at_once(sampler, first, count, wrap, behind, on_step=None) -> Tensor:
        return asynchronous.sample_in_turns(sampler, first, count, wrap, 0, on_step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlap, "sample_in_turns", at_once)
        now = pipe.denoise(request.model_copy(update={"async_steps": 1}))
    torch.testing.assert_close(now, pipe.denoise(request), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(now, late, atol=1e-3)


def test_an_anchor_pulls_statistics_all_the_way_at_one() -> None:
    generator = torch.Generator().manual_seed(0)
    first, drifted = (torch.randn(3, 4, 5, 5, generator=generator) for _ in range(2))
    drifted = drifted * 3 + 2
    anchor = statistics_of(first)
    torch.testing.assert_close(statistics_of(pull_to(drifted, anchor, 1.0)), anchor)
    assert torch.equal(pull_to(drifted, anchor, 0.0), drifted)
    half = statistics_of(pull_to(drifted, anchor, 0.5))[0]
    torch.testing.assert_close(half, (anchor[0] + drifted.mean(dim=(1, 2, 3))) / 2)


def test_the_last_chunk_of_a_loop_is_given_the_start(pipe: VideoGenerator) -> None:
    request = pipe.resolve(**SMALL | {"chunk_frames": 33}, num_frames=60, loop=True)
    *_, before, last = pipe.stream(request)
    other = dict(before.state.tensors)
    other["head"] = -other["head"]
    changed = dataclasses.replace(before.state, tensors=other)
    (again,) = pipe.stream(request, changed)
    assert not torch.equal(again.latents, last.latents)


@pytest.mark.parametrize(("num_given", "num_frames"), [(1, 17), (5, 20), (9, 25), (9, 60)])
def test_a_loop_may_start_with_frames_that_are_given(
    pipe: VideoGenerator, num_given: int, num_frames: int
) -> None:
    fields = SMALL | {"chunk_frames": 33, "video": "x.mp4", "num_inference_steps": 1}
    request = pipe.resolve(**fields, num_frames=num_frames, loop=True)
    start = np.random.default_rng(0).integers(0, 256, (num_given, 16, 16, 3), dtype=np.uint8)
    chunks = list(pipe.stream(request, start=start))
    assert sum(chunk.num_frames for chunk in chunks) == num_frames
    whole = torch.cat([chunk.latents for chunk in chunks], dim=1)
    assert torch.equal(chunks[-1].state.tensors["head"], whole[:, 1:3])
    rest = list(pipe.stream(request, chunks[0].state))
    assert torch.equal(torch.cat([chunks[0].latents, *(c.latents for c in rest)], dim=1), whole)
    open_end = list(pipe.stream(pipe.resolve(**fields, num_frames=num_frames), start=start))
    assert not torch.equal(open_end[-1].latents[:, -1], whole[:, -1])


def test_a_cached_clip_goes_on_from_a_saved_state(causal: VideoGenerator) -> None:
    request = causal.resolve(**SMALL, num_frames=61, extension="cached")
    chunks = list(causal.stream(request))
    assert len(chunks) > 3
    rest = list(causal.stream(request, chunks[1].state))
    assert all(torch.equal(a.latents, b.latents) for a, b in zip(rest, chunks[2:], strict=True))
    sizes = {len(chunk.state.tensors["positive/0/keys"].flatten()) for chunk in chunks[1:]}
    assert len(sizes) == 1  # what is kept does not grow


@pytest.mark.parametrize("extension", ["overlap", "cached"])
def test_frames_that_go_on_from_others_have_a_guidance_of_their_own(
    causal: VideoGenerator, extension: str
) -> None:
    fields = {**SMALL, "num_frames": 33, "extension": extension}
    plain = causal.denoise(causal.resolve(**fields))
    same = causal.resolve(**fields, context_guidance=causal.resolve(**fields).guidance_scale)
    assert torch.equal(causal.denoise(same), plain)
    other = causal.denoise(causal.resolve(**fields, context_guidance=1.0))
    first = causal.resolve(**fields)
    window = next(iter(causal.stream(first))).latents.shape[1]
    assert torch.equal(other[:, :window], plain[:, :window])
    assert not torch.equal(other[:, window:], plain[:, window:])


def test_a_cached_clip_sees_what_was_before(causal: VideoGenerator) -> None:
    fields = {"num_frames": 33, "extension": "cached", "guidance_scale": 1.0}
    request = causal.resolve(**SMALL, **fields)
    first, *_ = causal.stream(request)
    forgotten = {"tail": first.state.tail}
    fresh = dataclasses.replace(first.state, tensors=forgotten)
    seen, unseen = (next(causal.stream(request, s)).latents for s in (first.state, fresh))
    assert not torch.allclose(seen, unseen, atol=1e-3)
    assert np.isfinite(seen.numpy()).all()
