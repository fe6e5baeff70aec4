"""Whole Wan pipelines, from a folder that diffusers wrote to frames: the same at every step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.tiny_published import CLIP_SIZE, clip_processor, wan_pipeline
from videogen.diffusion.denoiser import Denoiser, as_denoiser
from videogen.diffusion.guidance import with_guidance
from videogen.diffusion.published import read_schedule
from videogen.diffusion.solvers import SOLVERS
from videogen.models.image_transformers import read_preparation
from videogen.models.wan.folder import WanModel, load_wan
from videogen.models.wan.transformer import KnownFrames

diffusers: Any = pytest.importorskip("diffusers")
pytestmark = [
    pytest.mark.parity,
    # numpy's, about how diffusers copies tensors
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

TOLERANCE = 1e-5
NUM_STEPS, SCALE = 6, 5.0
PROMPT, NEGATIVE = " a red &amp; blue\n circle ", "blue square"
NUM_FRAMES, HEIGHT, WIDTH = 9, 32, 48


def start() -> Tensor:
    return torch.randn(1, 4, 3, 4, 6, generator=torch.Generator().manual_seed(5))


def picture() -> np.ndarray:
    """Uint8 `h w c`."""
    rng = np.random.default_rng(0)
    smooth = rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return np.array(Image.fromarray(smooth).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def their_run(pipeline: Any, **extra: Any) -> tuple[list[Tensor], Tensor]:
    """Latents after every step, and frames `t 3 h w` in [0, 1]."""
    trace: list[Tensor] = []

    def keep(_pipeline: Any, _step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        trace.append(tensors["latents"].clone())
        return {}

    pipeline.set_progress_bar_config(disable=True)
    frames = pipeline(
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        height=HEIGHT,
        width=WIDTH,
        num_frames=NUM_FRAMES,
        num_inference_steps=NUM_STEPS,
        guidance_scale=SCALE,
        latents=start(),
        output_type="pt",
        callback_on_step_end=keep,
        **extra,
    ).frames[0]
    return trace, frames


@torch.inference_mode()
def our_run(model: WanModel, known: KnownFrames | None = None) -> tuple[list[Tensor], Tensor]:
    schedule = read_schedule(model.spec.scheduler, "test")
    trace: list[Tensor] = []

    def conditioned_on(prompt: str) -> Denoiser:
        text = model.text.encode([prompt])
        return as_denoiser(model.dit, schedule.path, schedule.prediction, text=text, known=known)

    guided = with_guidance(conditioned_on(PROMPT), conditioned_on(NEGATIVE), SCALE)

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        trace.append(x)
        return guided(x, sigma)

    sigmas = schedule.sigmas(NUM_STEPS)
    end = SOLVERS[schedule.sampler](denoiser, start(), sigmas, path=schedule.path)
    frames = model.vae.decode(model.denormalise(end))[0].transpose(0, 1)
    return [*trace[1:], end], (frames + 1) / 2


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    difference = (ours - theirs).abs().max() / theirs.abs().max()
    assert difference <= TOLERANCE, difference


def assert_same_runs(
    ours: tuple[list[Tensor], Tensor], theirs: tuple[list[Tensor], Tensor]
) -> None:
    assert len(ours[0]) == len(theirs[0]) == NUM_STEPS
    for a, b in zip(ours[0], theirs[0], strict=True):
        assert_same(a, b)
    assert_same(ours[1], theirs[1])
    assert ours[1].shape == (NUM_FRAMES, 3, HEIGHT, WIDTH)


@pytest.mark.parametrize("scheduler", ["unipc", "euler", "dpmpp_2m"])
def test_text_to_video(tmp_path: Path, scheduler):
    flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 5.0}
    made = {
        "unipc": lambda: diffusers.UniPCMultistepScheduler(**flow),
        "euler": lambda: diffusers.FlowMatchEulerDiscreteScheduler(shift=5.0),
        "dpmpp_2m": lambda: diffusers.DPMSolverMultistepScheduler(**flow),
    }[scheduler]()
    pipeline = wan_pipeline(tmp_path, scheduler=made, shard="50KB")
    assert len(list((tmp_path / "transformer").glob("*.safetensors"))) > 2
    assert_same_runs(our_run(load_wan(tmp_path)), their_run(pipeline))


def test_two_experts(tmp_path: Path):
    pipeline = wan_pipeline(tmp_path, experts=True)
    model = load_wan(tmp_path)
    ours, theirs = our_run(model), their_run(pipeline)
    assert_same_runs(ours, theirs)
    del pipeline.transformer_2
    model.dit.boundary = 0.0  # pyright: ignore[reportAttributeAccessIssue]
    alone = our_run(model)[0]
    assert (alone[-1] - ours[0][-1]).abs().max() > 0.01, "the second expert changes nothing"


@pytest.mark.parametrize("ends", [1, 2])
def test_image_to_video(tmp_path: Path, ends):
    pipeline = wan_pipeline(tmp_path, image=True, num_pictures=ends)
    pictures = [picture(), picture()[::-1].copy()][:ends]
    names = ["image", "last_image"][:ends]
    images = dict(zip(names, map(Image.fromarray, pictures), strict=True))
    model = load_wan(tmp_path)
    assert model.image is not None
    pixels = [torch.from_numpy(p).permute(2, 0, 1)[None] / 127.5 - 1 for p in pictures]
    tokens = torch.cat([model.image.encode(p) for p in pictures], dim=1)
    latents = model.first_frame_latents(pixels[0], NUM_FRAMES, *pixels[1:])
    assert_same_runs(our_run(model, KnownFrames(latents, tokens)), their_run(pipeline, **images))


@pytest.mark.parametrize(("height", "width"), [(28, 28), (61, 90), (90, 61), (29, 200)])
def test_pictures_are_prepared_as_by_the_reference(tmp_path: Path, height, width):
    processor = clip_processor()
    processor.save_pretrained(tmp_path)
    prepare = read_preparation(tmp_path / "preprocessor_config.json")
    assert prepare.side_px == CLIP_SIZE["image_size"]
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected = processor(images=Image.fromarray(image), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(prepare(image), expected, atol=1e-6, rtol=1e-6)
