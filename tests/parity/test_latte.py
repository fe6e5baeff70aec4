"""Latte against diffusers on small random weights: transformer, both VAEs, whole pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tiny_published import DDIM, IMAGE_VAE_SIZE, LATTE_SIZE, draw, latte_pipeline
from videogen.config import load_dataclass
from videogen.diffusion.denoiser import Denoiser, as_denoiser
from videogen.diffusion.guidance import with_guidance
from videogen.diffusion.published import read_schedule
from videogen.diffusion.solvers import SOLVERS
from videogen.models.image_vae.config import ImageVAEConfig
from videogen.models.image_vae.vae import FRAMES_TOGETHER, ImageVAE
from videogen.models.latte.config import LATTE_1, LatteConfig
from videogen.models.latte.folder import LatteModel, load_latte
from videogen.models.latte.transformer import LatteTransformer
from videogen.models.meta import on_meta
from videogen.models.text import TextEmbedding, encode_pair

diffusers: Any = pytest.importorskip("diffusers")
pytestmark = [
    pytest.mark.parity,
    # numpy's, about how diffusers copies tensors
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

TOLERANCE = 1e-5
UP = {"up_block_types": ["UpDecoderBlock2D"] * 3}
# Divides 1000: with any other number and trailing steps, the reference steps past the next one.
NUM_STEPS, SCALE = 5, 7.5
LONG_PROMPT = "a red circle moving right a blue square moving right"
NUM_FRAMES, HEIGHT, WIDTH = 5, 32, 24


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    difference = (ours - theirs).abs().max() / theirs.abs().max()
    assert difference <= TOLERANCE, difference


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def text_of(tokens: Tensor) -> TextEmbedding:
    return TextEmbedding(tokens, torch.ones(tokens.shape[:2]).bool(), tokens[:, 0])


@pytest.mark.parametrize(
    ("b", "h", "w", "config"),
    [
        (2, 8, 8, {}),
        (1, 6, 10, {"num_layers": 3}),
        (2, 4, 12, {"attention_bias": False}),
        (1, 8, 4, {"out_channels": None, "sample_size": 128}),
    ],
)
def test_transformer(b, h, w, config):
    theirs = draw(diffusers.LatteTransformer3DModel(**LATTE_SIZE | config))
    ours = LatteTransformer(LatteConfig(**LATTE_SIZE | config)).requires_grad_(False)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    latents, tokens = normal(b, 4, 5, h, w), normal(b, 7, 20, seed=2)
    timesteps = torch.tensor([981, 21])[:b]
    expected = theirs(latents, timesteps, tokens, return_dict=False)[0]
    assert_same(ours(latents, timesteps, text_of(tokens)), expected[:, :4])
    per_frame = timesteps[:, None].expand(b, 5)
    assert_same(ours(latents, per_frame, text_of(tokens)), expected[:, :4])
    # A single picture has no place in time.
    alone = theirs(latents[:, :, :1], timesteps, tokens, return_dict=False)[0]
    assert_same(ours(latents[:, :, :1], timesteps, text_of(tokens)), alone[:, :4])


def test_text_that_is_masked_has_no_influence():
    ours = draw(LatteTransformer(LatteConfig(**LATTE_SIZE)))
    latents, tokens = normal(1, 4, 2, 4, 4), normal(1, 7, 20)
    timesteps = torch.tensor([500.0])
    mask = torch.tensor([[True] * 4 + [False] * 3])
    padded = TextEmbedding(tokens, mask, tokens[:, 0])
    short = ours(latents, timesteps, text_of(tokens[:, :4]))
    assert_same(ours(latents, timesteps, padded), short)
    assert (ours(latents, timesteps, text_of(tokens)) - short).abs().max() > 1e-3


@pytest.mark.parametrize("across_frames", [False, True])
def test_vae(across_frames):
    kind = diffusers.AutoencoderKLTemporalDecoder if across_frames else diffusers.AutoencoderKL
    theirs = draw(kind(**IMAGE_VAE_SIZE, **({} if across_frames else UP)))
    config = load_dataclass(ImageVAEConfig, IMAGE_VAE_SIZE | UP, "test")
    ours = ImageVAE(config, across_frames).requires_grad_(False)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    latents, frames = normal(2, 4, 5, 4, 6), normal(2, 3, 3, 16, 24).clamp(-1, 1)
    extra = {"num_frames": 5} if across_frames else {}
    pictures = theirs.decode(latents.transpose(1, 2).flatten(0, 1), **extra).sample
    assert_same(ours.decode(latents), pictures.unflatten(0, (2, 5)).transpose(1, 2))
    posterior = theirs.encode(frames.transpose(1, 2).flatten(0, 1)).latent_dist
    mean, log_variance = ours.posterior(frames)
    assert_same(mean, posterior.mean.unflatten(0, (2, 3)).transpose(1, 2))
    assert_same(log_variance, posterior.logvar.unflatten(0, (2, 3)).transpose(1, 2))


@torch.inference_mode()
def our_run(
    model: LatteModel, prompt: str, negative: str, start: Tensor
) -> tuple[list[Tensor], Tensor]:
    """Latents after every step, and frames `t 3 h w` in [0, 1]."""
    schedule = read_schedule(model.spec.scheduler, "test")
    trace: list[Tensor] = []

    def told(text: TextEmbedding) -> Denoiser:
        return as_denoiser(model.dit, schedule.path, schedule.prediction, text=text)

    shown, avoided = encode_pair(model.text, prompt, negative)
    guided = with_guidance(told(shown), told(avoided), SCALE)

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        trace.append(x)
        return guided(x, sigma)

    sigmas = schedule.sigmas(NUM_STEPS)
    end = SOLVERS[schedule.sampler](denoiser, start, sigmas, path=schedule.path)
    frames = model.vae.decode(model.denormalise(end))[0].transpose(0, 1)
    return [*trace[1:], end], ((frames + 1) / 2).clamp(0, 1)


@pytest.mark.parametrize(
    ("negative", "across_frames", "ddim"),
    [
        ("", False, {}),
        ("Red blue square", True, {"steps_offset": 1, "set_alpha_to_one": False}),
        (LONG_PROMPT, False, {"timestep_spacing": "trailing"}),
    ],
)
def test_pipeline(tmp_path: Path, negative, across_frames, ddim):
    scheduler = diffusers.DDIMScheduler(**DDIM | ddim)
    pipeline = latte_pipeline(tmp_path, across_frames=across_frames, scheduler=scheduler)
    pipeline.set_progress_bar_config(disable=True)
    start, theirs = normal(1, 4, NUM_FRAMES, HEIGHT // 4, WIDTH // 4), []

    def keep(_pipeline: Any, _step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        theirs.append(tensors["latents"].clone())
        return {}

    frames = pipeline(
        prompt=" A Red circle ",
        negative_prompt=negative,
        num_inference_steps=NUM_STEPS,
        guidance_scale=SCALE,
        video_length=NUM_FRAMES,
        height=HEIGHT,
        width=WIDTH,
        latents=start,
        output_type="pt",
        clean_caption=False,
        callback_on_step_end=keep,
    ).frames[0]
    model = load_latte(tmp_path, vae="vae_temporal_decoder" if across_frames else "vae")
    trace, ours = our_run(model, " A Red circle ", negative, start)
    for a, b in zip(trace, theirs, strict=True):
        assert_same(a, b)
    assert_same(ours, frames)


def test_a_long_clip_is_decoded_in_the_groups_of_the_reference(tmp_path: Path):
    pipeline = latte_pipeline(tmp_path, across_frames=True)
    model = load_latte(tmp_path, vae="vae_temporal_decoder")
    latents = normal(1, 4, FRAMES_TOGETHER + 2, 4, 2)
    with torch.no_grad():
        expected = pipeline.decode_latents(latents, latents.shape[2])
    parts = list(model.vae.decode_stream([model.denormalise(latents)]))
    assert [part.shape[2] for part in parts] == [FRAMES_TOGETHER, 2]
    assert_same(torch.cat(parts, dim=2), expected)


def test_names_and_shapes_of_the_published_sizes():
    published = {name: getattr(LATTE_1, name) for name in LatteConfig.__dataclass_fields__}
    vae = {
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "block_out_channels": [128, 256, 512, 512],
        "layers_per_block": 2,
    }
    with torch.device("meta"):
        theirs = [
            diffusers.LatteTransformer3DModel(**published),
            diffusers.AutoencoderKL(**vae, up_block_types=["UpDecoderBlock2D"] * 4),
            diffusers.AutoencoderKLTemporalDecoder(**vae),
        ]
    with on_meta():
        config = ImageVAEConfig()
        ours = [LatteTransformer(LATTE_1), ImageVAE(config), ImageVAE(config, True)]
    for a, b in zip(ours, theirs, strict=True):
        expected = {key: value.shape for key, value in b.state_dict().items()}
        assert {key: value.shape for key, value in a.state_dict().items()} == expected
