"""The generator: same request, same pixels; and every field of the request does its work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import videogen
from videogen.errors import ConfigError, InvalidRequestError, NonFiniteError
from videogen.generator import VideoGenerator
from videogen.requests import SAMPLERS


@pytest.fixture(scope="module")
def pipe(tiny_model: Path) -> VideoGenerator:
    return videogen.load(str(tiny_model))


def test_a_clip_has_the_size_asked_for(pipe: VideoGenerator) -> None:
    frames = pipe("a red circle", num_frames=9, height=16, width=48).to_array()
    assert frames.shape == (9, 16, 48, 3)
    assert frames.dtype == np.uint8


def test_the_same_request_gives_the_same_pixels(pipe: VideoGenerator) -> None:
    first = pipe("red", seed=3).to_array()
    pipe("circle", seed=4).to_array()
    assert np.array_equal(first, pipe("red", seed=3).to_array())
    assert not np.array_equal(first, pipe("red", seed=5).to_array())


def test_a_request_without_a_seed_is_repeatable(pipe: VideoGenerator) -> None:
    assert pipe.resolve(prompt="red").seed == pipe.resolve(prompt="red").seed
    assert pipe.resolve(prompt="red").seed != pipe.resolve(prompt="circle").seed


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "circle"},
        {"negative_prompt": "circle"},
        {"guidance_scale": 7.0},
        {"guidance_rescale": 0.7},
        {"guidance_interval": (0.0, 0.5)},
        {"num_inference_steps": 3},
        {"flow_shift": 3.0},
        {"sampler": "ddpm"},
        {"sampler": "lcm"},
        {"sampler": "ddim", "eta": 0.5},
    ],
)
def test_every_sampling_field_changes_the_clip(
    pipe: VideoGenerator, change: dict[str, Any]
) -> None:
    base = {"prompt": "red", "seed": 1, "num_inference_steps": 2, "guidance_scale": 4.0}
    expected = pipe.denoise(pipe.resolve(**base))
    assert not torch.allclose(expected, pipe.denoise(pipe.resolve(**base | change)))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_reports_each_step(pipe: VideoGenerator, sampler: str) -> None:
    steps: list[tuple[int, int]] = []
    request = pipe.resolve(prompt="red", sampler=sampler, num_inference_steps=4)
    latents = pipe.denoise(request, on_step=lambda step, total: steps.append((step, total)))
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert torch.isfinite(latents).all()


def test_guidance_scale_one_ignores_the_negative_prompt(pipe: VideoGenerator) -> None:
    one = pipe.denoise(pipe.resolve(prompt="red", seed=1, guidance_scale=1.0))
    other = pipe.resolve(prompt="red", seed=1, guidance_scale=1.0, negative_prompt="circle")
    assert torch.equal(one, pipe.denoise(other))


def test_a_negative_prompt_without_effect_is_told(pipe: VideoGenerator) -> None:
    base = {"prompt": "red", "negative_prompt": "circle"}
    note = ["negative_prompt: has no effect at guidance_scale 1"]
    alone = base | {"guidance_scale": 1.0, "context_guidance": 2.0}
    assert pipe.warnings(pipe.resolve(**alone)) == note
    assert pipe.warnings(pipe.resolve(**base | {"guidance_scale": 1.5})) == []
    assert pipe.warnings(pipe.resolve(**alone, num_frames=65)) == []
    assert pipe.warnings(pipe.resolve(**alone, num_frames=65, extension="windows")) == note


def test_frames_stream_in_small_chunks(pipe: VideoGenerator) -> None:
    clip = pipe("red", num_frames=13)
    chunks = list(clip.frames())
    assert [len(chunk) for chunk in chunks] == [1, 4, 4, 4]
    assert np.array_equal(np.concatenate(chunks), clip.to_array())


def test_a_longer_clip_starts_as_the_window_alone(pipe: VideoGenerator) -> None:
    short, long = (pipe.resolve(id="a", prompt="red", seed=9, num_frames=n) for n in (5, 13))
    a, b = pipe.denoise(short), pipe.denoise(long)
    assert (a.shape[1], b.shape[1]) == (2, 4)
    assert torch.equal(a, b[:, :2])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_frames": 0}, "num_frames: got 0"),
        ({"chunk_frames": 80}, r"chunk_frames: got 80, expected 4n\+1 of at least 5 \(77, 81\)"),
        ({"guidance_scale": float("nan")}, "guidance_scale"),
        ({"seed": -1}, "seed"),
        ({"id": "../../x"}, "id"),
        ({"steps": 3}, "steps"),
    ],
)
def test_bad_requests_name_the_field(
    pipe: VideoGenerator, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        pipe("red", **fields)


def test_nan_is_an_error_and_no_clip(tiny_model: Path) -> None:
    broken = videogen.load(str(tiny_model))
    with torch.no_grad():
        broken.model.dit.head.bias.fill_(float("nan"))
    with pytest.raises(NonFiniteError, match="NaN or infinity"):
        broken("red")


@pytest.mark.parametrize("num_tiles", [1, 2])
def test_frames_of_nan_are_an_error_and_no_black_clip(tiny_model: Path, num_tiles: int) -> None:
    broken = videogen.load(str(tiny_model))
    latents = broken.denoise(broken.resolve(prompt="red", seed=1))
    with torch.no_grad():
        broken.model.vae.decoder.head.bias.fill_(float("nan"))  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(NonFiniteError, match="frames: got NaN"):
        list(broken.decode(latents, num_tiles))


def test_words_the_model_does_not_know_are_said(pipe: VideoGenerator) -> None:
    assert pipe.warnings(pipe.resolve(prompt="red circle")) == []
    notes = pipe.warnings(pipe.resolve(prompt="red dog " * 9))
    assert notes == [
        "prompt: cut at the text encoder's 8 tokens",
        "prompt: words this model does not know: dog",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda"}, "device: got 'cuda'"),
        ({"device": "toaster"}, "device: got 'toaster'"),
        ({"dtype": "int8"}, "dtype: got 'int8'"),
        ({"attention": "magic"}, "attention backend: got 'magic'"),
    ],
)
def test_impossible_placements_are_refused(
    tiny_model: Path, options: dict[str, str], message: str
) -> None:
    if options.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ConfigError, match=message):
        videogen.load(str(tiny_model), **options)


def test_a_clip_is_saved_as_video(pipe: VideoGenerator, tmp_path: Path) -> None:
    from videogen.media.reader import probe

    path = pipe("red", seed=1, fps=10.0).save(tmp_path / "clip.mp4")
    info = probe(path)
    assert (info.num_frames, info.height, info.width, info.fps) == (5, 32, 32, 10.0)
    assert info.metadata["prompt"] == "red"


@pytest.mark.parametrize("num_tiles", [2, 4, 16])
def test_tiles_change_no_pixel(pipe: VideoGenerator, num_tiles: int) -> None:
    request = pipe.resolve(prompt="a red circle", num_frames=9, height=64, width=48)
    latents = pipe.denoise(request)
    whole = list(pipe.decode(latents))
    tiled = list(pipe.decode(latents, num_tiles))
    assert [chunk.shape for chunk in tiled] == [(1, 64, 48, 3), (4, 64, 48, 3), (4, 64, 48, 3)]
    assert all(np.array_equal(a, b) for a, b in zip(whole, tiled, strict=True))
    assert np.ptp(np.concatenate(whole)) > 0
