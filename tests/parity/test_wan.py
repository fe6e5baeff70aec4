"""Wan against diffusers on small random weights: transformer, VAE, folders, names and shapes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from videogen.config import load_dataclass
from videogen.models.meta import on_meta
from videogen.models.text import TextEmbedding
from videogen.models.wan.config import WAN_I2V_14B, WAN_T2V_1_3B, WAN_T2V_14B, WanConfig
from videogen.models.wan.transformer import KnownFrames, WanTransformer
from videogen.models.wan.vae import WanVAE
from videogen.models.wan.vae_config import WanVAEConfig

diffusers: Any = pytest.importorskip("diffusers")
pytestmark = pytest.mark.parity

TOLERANCE = 1e-5
SMALL: dict[str, Any] = {
    "num_attention_heads": 3,
    "attention_head_dim": 28,  # pairs do not divide by three
    "text_dim": 20,
    "freq_dim": 16,
    "ffn_dim": 50,
    "num_layers": 2,
}
SMALL_VAE: dict[str, Any] = {
    "base_dim": 8,
    "z_dim": 4,
    "latents_mean": [0.1, -0.2, 0.3, -0.4],
    "latents_std": [1.5, 0.5, 2.0, 1.0],
}
IMAGE: dict[str, Any] = {"in_channels": 36, "image_dim": 24, "added_kv_proj_dim": 84}
LENGTH_WITH_IMAGE = 512
"""The reference cuts image tokens off at this many tokens from the end."""


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    difference = (ours - theirs).abs().max() / theirs.abs().max()
    assert difference <= TOLERANCE, difference


def drawn(module: nn.Module, seed: int = 0) -> Any:
    """Weights that use every part of a module, where a fresh one has zeros and ones."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    return module.eval().requires_grad_(False)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def text_of(tokens: Tensor) -> TextEmbedding:
    return TextEmbedding(tokens, torch.ones(tokens.shape[:2]).bool(), tokens[:, 0])


def drawn_vae(**config: Any) -> tuple[WanVAE, Any]:
    """Weights that neither vanish nor grow from layer to layer."""
    theirs = diffusers.AutoencoderKLWan(**SMALL_VAE | config)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in theirs.named_parameters():
        is_norm = name.endswith("gamma")
        fan_in = parameter[0].numel() if parameter.ndim > 1 and not is_norm else 9
        noise = torch.randn(parameter.shape, generator=generator) / fan_in**0.5
        parameter.data = noise + (1.0 if is_norm else 0.0)
    ours = WanVAE(load_dataclass(WanVAEConfig, SMALL_VAE | config, "test"))
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours.requires_grad_(False), theirs.eval().requires_grad_(False)


def both(**config: Any) -> tuple[WanTransformer, Any]:
    theirs = drawn(diffusers.WanTransformer3DModel(**SMALL | config))
    ours = WanTransformer(WanConfig(**SMALL | config)).eval().requires_grad_(False)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


@pytest.mark.parametrize(
    ("b", "t", "h", "w", "num_tokens", "config"),
    [
        (2, 3, 6, 10, 5, {}),
        (1, 1, 2, 4, 512, {}),
        (3, 5, 8, 2, 9, {"cross_attn_norm": False}),
        (1, 2, 9, 4, 7, {"patch_size": (1, 3, 2)}),
    ],
)
def test_text_to_video(b, t, h, w, num_tokens, config):
    ours, theirs = both(**config)
    latents, tokens = normal(b, 16, t, h, w), normal(b, num_tokens, 20, seed=2)
    timesteps = torch.tensor([999.0, 437.5, 0.0])[:b]
    expected = theirs(latents, timesteps, tokens, return_dict=False)[0]
    assert_same(ours(latents, timesteps, text_of(tokens)), expected)
    per_frame = timesteps[:, None].expand(b, t)
    assert_same(ours(latents, per_frame, text_of(tokens)), expected)


def test_a_timestep_for_every_frame():
    ours, theirs = both()
    latents, tokens = normal(2, 16, 3, 4, 6), normal(2, 5, 20)
    timesteps = torch.tensor([[0.0, 500.0, 999.0], [20.0, 20.0, 700.0]])
    of_tokens = timesteps.repeat_interleave(2 * 3, dim=1)
    expected = theirs(latents, of_tokens, tokens, return_dict=False)[0]
    assert_same(ours(latents, timesteps, text_of(tokens)), expected)


@pytest.mark.parametrize("config", [IMAGE, {"in_channels": 36}])
def test_image_to_video(config):
    ours, theirs = both(**config)
    latents, condition = normal(2, 16, 3, 4, 6), normal(2, 20, 3, 4, 6, seed=2)
    tokens, image = normal(2, LENGTH_WITH_IMAGE, 20), normal(2, 7, 24)
    timesteps = torch.tensor([999.0, 20.0])
    image = image if "image_dim" in config else None
    expected = theirs(
        torch.cat([latents, condition], dim=1), timesteps, tokens, image, return_dict=False
    )[0]
    known = KnownFrames(condition, image)
    assert_same(ours(latents, timesteps, text_of(tokens), known), expected)


def test_first_and_last_frame_have_positions():
    ours, theirs = both(**IMAGE, pos_embed_seq_len=2 * 7)
    latents, condition = normal(1, 16, 3, 4, 6), normal(1, 20, 3, 4, 6, seed=2)
    tokens, images = normal(1, LENGTH_WITH_IMAGE, 20), normal(2, 7, 24)
    whole, time = torch.cat([latents, condition], dim=1), torch.tensor([500.0])
    expected = theirs(whole, time, tokens, images, return_dict=False)[0]
    known = KnownFrames(condition, images.flatten(0, 1)[None])
    assert_same(ours(latents, time, text_of(tokens), known), expected)


@pytest.mark.parametrize("config", [WAN_T2V_1_3B, WAN_T2V_14B, WAN_I2V_14B])
def test_names_and_shapes_of_the_published_sizes(config):
    fields = {name: getattr(config, name) for name in WanConfig.__dataclass_fields__}
    with torch.device("meta"):
        theirs = diffusers.WanTransformer3DModel(**fields)
    with on_meta():
        ours = WanTransformer(config)
    expected = {key: value.shape for key, value in theirs.state_dict().items()}
    assert {key: value.shape for key, value in ours.state_dict().items()} == expected


@pytest.mark.parametrize("config", [{}, {"decoder_base_dim": 12, "num_res_blocks": 1}])
@pytest.mark.parametrize(("t", "h", "w"), [(1, 2, 2), (4, 3, 5)])
def test_vae(t, h, w, config):
    ours, theirs = drawn_vae(**config)
    latents = normal(2, 4, t, h, w)
    frames = theirs.decode(latents).sample
    assert (frames.abs() == 1).float().mean() < 0.7, "clamping hides what is compared"
    assert_same(ours.decode(latents), frames)
    clip = normal(2, 3, 4 * t - 3, 8 * h, 8 * w).clamp(-1, 1)
    mean, log_variance = ours.posterior(clip)
    expected = theirs.encode(clip).latent_dist
    assert_same(mean, expected.mean)
    assert_same(log_variance, expected.logvar)


def test_vae_along_time_first():
    """Where time halves decides where the first frame stands alone."""
    ours, theirs = drawn_vae(temperal_downsample=[True, True, False])
    latents = normal(1, 4, 3, 2, 3)
    assert_same(ours.decode(latents), theirs.decode(latents).sample)
    clip = normal(1, 3, 9, 16, 24)
    assert_same(ours.encode(clip), theirs.encode(clip).latent_dist.mode())


def test_a_stream_of_latents_is_the_clip_bit_for_bit():
    ours, _ = drawn_vae()
    latents = normal(1, 4, 5, 2, 3)
    whole, cache = ours.decode(latents), {}
    first, *rest = latents.split([2, 1, 2], dim=2)
    parts = [*ours.decode_stream([first], cache), *ours.decode_stream(rest, cache)]
    assert [part.shape[2] for part in parts] == [1, 4, 4, 4, 4]
    assert torch.equal(torch.cat(parts, dim=2), whole)


def test_names_and_shapes_of_the_published_vae():
    with torch.device("meta"):
        theirs = diffusers.AutoencoderKLWan()
    with on_meta():
        ours = WanVAE(WanVAEConfig())
    expected = {key: value.shape for key, value in theirs.state_dict().items()}
    assert {key: value.shape for key, value in ours.state_dict().items()} == expected
    assert list(WanVAEConfig().latents_mean) == theirs.config.latents_mean
    assert list(WanVAEConfig().latents_std) == theirs.config.latents_std
