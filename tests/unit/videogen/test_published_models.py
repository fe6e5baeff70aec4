"""Clips of published models: the generator takes their folders like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import videogen
from tests.tiny_published import latte_pipeline, wan_pipeline
from videogen.errors import ConfigError, InvalidRequestError
from videogen.generator import VideoGenerator

pytest.importorskip("diffusers")
WAN = {"num_frames": 9, "height": 32, "width": 48, "num_inference_steps": 3}
LATTE = {"num_frames": 5, "height": 32, "width": 24, "num_inference_steps": 3}


@pytest.fixture(scope="module")
def wan_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny-wan"
    wan_pipeline(folder, experts=True)
    return folder


@pytest.fixture(scope="module")
def wan(wan_folder: Path) -> VideoGenerator:
    return videogen.load(wan_folder, device="cpu")


@pytest.fixture(scope="module")
def latte(tmp_path_factory: pytest.TempPathFactory) -> VideoGenerator:
    folder = tmp_path_factory.mktemp("models") / "tiny-latte"
    latte_pipeline(folder)
    return videogen.load(folder, device="cpu")


def test_wan_makes_a_clip_that_its_request_decides(wan):
    clip = wan("a red circle", seed=1, **WAN)
    frames = clip.to_array()
    assert frames.shape == (9, 32, 48, 3)
    assert frames.std() > 1
    assert np.array_equal(wan("a red circle", seed=1, **WAN).to_array(), frames)
    assert not np.array_equal(wan("a blue circle", seed=1, **WAN).to_array(), frames)
    assert not np.array_equal(wan("a red circle", seed=2, **WAN).to_array(), frames)


def test_the_folder_says_how_to_sample(wan):
    request = wan.resolve(prompt="a", seed=1)
    assert (request.sampler, request.num_inference_steps, request.fps) == ("unipc", 50, 16.0)
    assert (request.num_frames, request.height, request.width) == (81, 480, 832)
    assert request.flow_shift == 3.0
    assert wan.resolve(prompt="a", seed=1, height=720, width=1280).flow_shift == 5.0
    said = wan.resolve(prompt="a", seed=1, height=720, width=1280, flow_shift=8.0)
    assert said.flow_shift == 8.0


def test_flow_shift_and_negative_prompt_change_the_clip(wan):
    plain = wan("a red circle", seed=1, **WAN).to_array()
    shifted = wan("a red circle", seed=1, flow_shift=8.0, **WAN).to_array()
    avoiding = wan("a red circle", seed=1, negative_prompt="blue square", **WAN).to_array()
    assert not np.array_equal(plain, shifted)
    assert not np.array_equal(plain, avoiding)


def test_any_number_of_frames_comes_out(wan):
    seven = wan("a red circle", seed=1, **WAN | {"num_frames": 7}).to_array()
    assert np.array_equal(seven, wan("a red circle", seed=1, **WAN).to_array()[:7])


def test_a_long_clip_is_made_in_windows(wan):
    long = WAN | {"num_frames": 21, "chunk_frames": 9}
    assert wan("a red circle", seed=1, **long).to_array().shape == (21, 32, 48, 3)
    with pytest.raises(InvalidRequestError, match="extension: got 'cached'"):
        wan.resolve(prompt="a", seed=1, extension="cached", **long)


def test_a_sampler_of_ones_own(wan):
    euler = wan("a red circle", seed=1, sampler="euler", **WAN).to_array()
    assert euler.shape == (9, 32, 48, 3)
    assert not np.array_equal(euler, wan("a red circle", seed=1, **WAN).to_array())


def test_decoding_goes_on_from_a_rebuilt_cache(wan):
    request = wan.resolve(prompt="a red circle", seed=1, **WAN | {"num_frames": 17})
    (chunk,) = wan.stream(request)
    latents = chunk.latents
    whole = np.concatenate(list(wan.decode(latents)))
    assert whole.shape[0] == 17
    cache = wan.decoder_cache(chunk.state)
    assert set(cache) == {name for name in cache if name.startswith("decoder.")}
    assert len(cache) > 10


def test_latte_makes_a_clip_that_its_request_decides(latte):
    frames = latte("a red circle", seed=1, **LATTE).to_array()
    assert frames.shape == (5, 32, 24, 3)
    assert np.array_equal(latte("a red circle", seed=1, **LATTE).to_array(), frames)
    avoiding = latte("a red circle", seed=1, negative_prompt="blue square", **LATTE).to_array()
    assert not np.array_equal(avoiding, frames)
    request = latte.resolve(prompt="a", seed=1)
    assert (request.sampler, request.guidance_scale, request.fps) == ("ddim", 7.5, 8.0)


def test_half_precision_keeps_latents_whole(wan_folder):
    generator = videogen.load(wan_folder, device="cpu", dtype="bfloat16")
    latents = generator.denoise(generator.resolve(prompt="a red circle", seed=1, **WAN))
    assert latents.dtype == torch.float32
    assert not torch.equal(latents, latents.bfloat16().float())


@pytest.fixture(scope="module")
def animator(tmp_path_factory: pytest.TempPathFactory) -> VideoGenerator:
    """An image-to-video model."""
    folder = tmp_path_factory.mktemp("models") / "tiny-i2v"
    wan_pipeline(folder, image=True)
    return videogen.load(folder, device="cpu")


def picture(seed: int) -> np.ndarray:
    """One frame, uint8 `1 h w c`."""
    shape = 1, WAN["height"], WAN["width"], 3
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_a_clip_starts_from_its_picture(animator):
    request = animator.resolve(prompt="a red circle", seed=1, image="start.png", **WAN)
    one, other = (
        torch.cat([chunk.latents for chunk in animator.stream(request, start=picture(seed))], dim=1)
        for seed in (1, 2)
    )
    assert one.shape == other.shape == (4, 3, 4, 6)
    assert not torch.equal(one, other)
    both = np.concatenate([picture(2), picture(1)])
    (last,) = animator.stream(request, start=both)
    assert torch.equal(last.latents, one)
    frames = np.concatenate(list(animator.decode(one)))
    assert frames.shape == (9, 32, 48, 3)


def test_the_picture_is_that_of_the_request(animator):
    request = animator.resolve(prompt="a", seed=1, image="start.png", **WAN)
    with pytest.raises(InvalidRequestError, match=r"image: got 'start.png' and no frames"):
        animator.stream(request)
    with pytest.raises(InvalidRequestError, match=r"start: got uint8 \(1, 31, 48, 3\)"):
        animator.stream(request, start=picture(1)[:, :31])


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "image: got none, expected the picture to start with"),
        ({"image": "a.png", "extension": "overlap"}, "extension: got 'overlap', expected none"),
    ],
)
def test_what_an_image_to_video_model_cannot_do(animator, fields, problem):
    with pytest.raises(InvalidRequestError, match=problem):
        animator.resolve(prompt="a", seed=1, **WAN | fields)


def test_a_text_to_video_model_takes_no_picture(wan):
    with pytest.raises(InvalidRequestError, match=r"image: got 'a.png'"):
        wan.resolve(prompt="a", seed=1, image="a.png", **WAN)


def test_another_pipeline_is_named(tmp_path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "LTXPipeline"}')
    with pytest.raises(ConfigError, match="got 'LTXPipeline', expected one of LattePipeline, Wan"):
        videogen.load(tmp_path, device="cpu")
