"""A clip as a stream: exact lengths, states that go on, frames that do not know of the cuts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import videogen
from videogen.errors import InvalidRequestError
from videogen.extension.state import Chunk, StreamState
from videogen.generator import VideoGenerator
from videogen.requests import ClipRequest


@pytest.fixture(scope="module")
def pipe(tiny_model: Path) -> VideoGenerator:
    return videogen.load(str(tiny_model), device="cpu")


def request_of(pipe: VideoGenerator, **fields: Any) -> ClipRequest:
    base = {"id": "a", "prompt": "red", "seed": 5, "height": 16, "width": 16, "chunk_frames": 17}
    return pipe.resolve(**base | fields)


def frames_of(pipe: VideoGenerator, chunks: list[Chunk], cache: dict[str, Any]) -> np.ndarray:
    return np.concatenate([f for chunk in chunks for f in pipe.decode_chunk(chunk, cache)])


@pytest.mark.parametrize("num_frames", [1, 2, 7, 17, 18, 62, 100])
def test_exactly_as_many_frames_as_asked_for_come_out(
    pipe: VideoGenerator, num_frames: int
) -> None:
    request = request_of(pipe, num_frames=num_frames, num_inference_steps=1)
    chunks = list(pipe.stream(request))
    assert sum(chunk.num_frames for chunk in chunks) == num_frames
    assert frames_of(pipe, chunks, {}).shape == (num_frames, 16, 16, 3)
    assert [chunk.is_last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


def test_frames_are_those_of_all_latents_decoded_at_once(pipe: VideoGenerator) -> None:
    request = request_of(pipe, num_frames=62)
    chunks = list(pipe.stream(request))
    at_once = np.concatenate(list(pipe.decode(pipe.denoise(request))))
    assert len(at_once) == 65
    assert np.array_equal(frames_of(pipe, chunks, {}), at_once[:62])
    apart = [np.concatenate(list(pipe.decode(chunk.latents))) for chunk in chunks[1:]]
    assert not np.array_equal(apart[0][-4:], at_once[17 + 8 : 17 + 12])  # so the past does matter


@pytest.mark.parametrize(
    ("num_frames", "latents"), [(1, 1), (2, 2), (5, 2), (6, 3), (9, 3), (62, 17), (65, 17)]
)
def test_latents_hold_at_least_the_frames(
    pipe: VideoGenerator, num_frames: int, latents: int
) -> None:
    vae = pipe.spec.vae
    assert vae.latent_frames(num_frames) == latents
    assert vae.frames(latents - 1) < num_frames <= vae.frames(latents)


def test_a_clip_that_fits_the_window_is_one_chunk(pipe: VideoGenerator) -> None:
    (chunk,) = pipe.stream(request_of(pipe, num_frames=17))
    assert (chunk.index, chunk.first_latent, chunk.latents.shape[1]) == (0, 0, 5)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"async_steps": 1},
        {"anchor": 0.5},
        {"num_frames": 60, "loop": True},
        {"prompts": [{"at_s": 0, "prompt": "red"}, {"at_s": 2, "prompt": "circle"}]},
    ],
    ids=lambda fields: next(iter(fields), "plain"),
)
def test_a_clip_goes_on_from_a_saved_state(pipe: VideoGenerator, fields: dict[str, Any]) -> None:
    fields = {"num_frames": 61, **fields}
    if "prompts" in fields:
        fields["prompt"] = "red"
    request = request_of(pipe, **fields)
    chunks = list(pipe.stream(request))
    whole = frames_of(pipe, chunks, {})
    for done in (1, 3):
        state = StreamState.from_bytes(chunks[done - 1].state.to_bytes())
        rest = list(pipe.stream(request, state))
        assert [chunk.index for chunk in rest] == list(range(done, len(chunks)))
        made = sum(chunk.num_frames for chunk in chunks[:done])
        cache = pipe.decoder_cache(state)
        assert np.array_equal(frames_of(pipe, rest, cache), whole[made:])


def test_the_state_does_not_grow(pipe: VideoGenerator) -> None:
    chunks = list(pipe.stream(request_of(pipe, num_frames=241, num_inference_steps=1)))
    sizes = [len(chunk.state.to_bytes()) for chunk in chunks]
    assert max(sizes) == sizes[-1] == sizes[len(sizes) // 2]


def test_the_cache_of_the_decoder_comes_back_to_the_bit(pipe: VideoGenerator) -> None:
    chunks = list(pipe.stream(request_of(pipe, num_frames=141, num_inference_steps=1)))
    past = pipe.spec.vae.decoder_past
    carried: dict[str, torch.Tensor] = {}
    compared = 0
    for chunk in chunks[:-1]:
        frames_of(pipe, [chunk], carried)
        rebuilt = pipe.decoder_cache(chunk.state)
        assert rebuilt.keys() == carried.keys()
        assert all(torch.equal(rebuilt[name], carried[name]) for name in carried)
        compared += chunk.state.next_latent > past
    assert compared > 3  # where the start of the clip is forgotten


def test_a_shorter_past_would_not_do(pipe: VideoGenerator) -> None:
    *_, chunk, _ = pipe.stream(request_of(pipe, num_frames=141, num_inference_steps=1))
    short = dict(chunk.state.tensors) | {"tail": chunk.state.tail[:, -5:]}
    right, wrong = (
        pipe.decoder_cache(dataclasses.replace(chunk.state, tensors=tensors))
        for tensors in (chunk.state.tensors, short)
    )
    assert not all(torch.equal(right[name], wrong[name]) for name in right)


def test_tiles_give_the_same_frames_after_a_state(pipe: VideoGenerator) -> None:
    request = request_of(pipe, num_frames=61, height=64, num_inference_steps=1)
    first, *rest = pipe.stream(request)
    whole = frames_of(pipe, rest, pipe.decoder_cache(first.state))
    cache = pipe.decoder_cache(first.state, num_tiles=2)
    tiled = np.concatenate([f for c in rest for f in pipe.decode_chunk(c, cache, num_tiles=2)])
    assert np.array_equal(tiled, whole)


def test_steps_are_told_for_the_whole_clip(pipe: VideoGenerator) -> None:
    told: list[tuple[int, int]] = []
    request = request_of(pipe, num_frames=61, num_inference_steps=2)
    chunks = list(pipe.stream(request, on_step=lambda done, of: told.append((done, of))))
    assert told == [(step, 2 * len(chunks)) for step in range(1, 2 * len(chunks) + 1)]
    again: list[tuple[int, int]] = []
    list(pipe.stream(request, chunks[0].state, lambda done, of: again.append((done, of))))
    assert again == told[2:]


def test_states_of_other_clips_are_refused(pipe: VideoGenerator) -> None:
    chunk = next(pipe.stream(request_of(pipe, num_frames=61)))
    with pytest.raises(InvalidRequestError, match="state: got one of clip"):
        next(pipe.stream(request_of(pipe, num_frames=61, seed=6), chunk.state))
    with pytest.raises(InvalidRequestError, match="state: got 3 bytes"):
        StreamState.from_bytes(b"no!")


def test_a_long_clip_is_denoised_as_it_is_read(pipe: VideoGenerator) -> None:
    told: list[int] = []
    request = request_of(pipe, num_frames=61, num_inference_steps=1)
    clip = pipe.generate(request, on_step=lambda done, _: told.append(done))
    assert told == []
    frames = clip.frames()
    next(frames)
    assert told == [1]
    assert sum(map(len, frames)) == 60
    assert torch.equal(clip.latents, pipe.denoise(request))


def test_a_clip_starts_with_the_frames_given(pipe: VideoGenerator) -> None:
    start = np.random.default_rng(0).integers(0, 255, (6, 16, 16, 3), dtype=np.uint8)
    request = request_of(
        pipe, num_frames=40, video="x.mp4", num_inference_steps=1, context_frames=8
    )
    chunks = list(pipe.stream(request, start=start))
    pixels = torch.from_numpy(start[-5:]).permute(3, 0, 1, 2)[None].float().div(127.5).sub(1)
    known = pipe.model.normalise(pipe.model.vae.encode(pixels))[0]
    assert torch.equal(chunks[0].latents[:, :2], known)
    assert sum(chunk.num_frames for chunk in chunks) == 40
    rest = list(pipe.stream(request, chunks[0].state))
    assert torch.equal(rest[-1].latents, chunks[-1].latents)
    other = list(pipe.stream(request, start=255 - start))
    assert not torch.equal(other[0].latents[:, 2:], chunks[0].latents[:, 2:])


@pytest.mark.parametrize(
    ("fields", "start", "message"),
    [
        ({"image": "a.png"}, None, "image: got 'a.png' and no frames"),
        ({}, np.zeros((1, 8, 16, 3), np.uint8), r"start: got uint8 \(1, 8, 16, 3\)"),
        ({"num_frames": 1}, np.zeros((1, 16, 16, 3), np.uint8), "num_frames: got 1, expected more"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(
    pipe: VideoGenerator, fields: dict[str, Any], start: np.ndarray | None, message: str
) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        next(pipe.stream(request_of(pipe, **fields), start=start))
