"""What is done faster than in diffusers gives what diffusers gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from videogen.models import winograd
from videogen.models.accelerate import accelerate
from videogen.models.image_vae.config import ImageVAEConfig
from videogen.models.image_vae.vae import ImageVAE
from videogen.models.latte.config import LatteConfig
from videogen.models.latte.transformer import LatteTransformer
from videogen.models.text import TextEmbedding
from videogen.models.wan.config import WanConfig
from videogen.models.wan.transformer import WanTransformer
from videogen.models.wan.vae import WanVAE
from videogen.models.wan.vae_config import WanVAEConfig

diffusers: Any = pytest.importorskip("diffusers")
pytestmark = pytest.mark.parity
TOLERANCE = 1e-5


def drawn(module: nn.Module) -> Any:
    generator = torch.Generator().manual_seed(0)
    for name, parameter in module.named_parameters():
        is_norm = name.endswith("gamma")
        fan_in = parameter[0].numel() if parameter.ndim > 1 and not is_norm else 9
        noise = torch.randn(parameter.shape, generator=generator) / fan_in**0.5
        parameter.data = noise + (1.0 if is_norm else 0.0)
    return module.eval().requires_grad_(False)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= TOLERANCE * theirs.abs().max()


def padded(lengths: list[int], width: int, length: int = 512) -> TextEmbedding:
    mask = torch.arange(length) < torch.tensor(lengths)[:, None]
    tokens = normal(len(lengths), length, width, seed=2) * mask[..., None]
    return TextEmbedding(tokens, mask, tokens[:, 0])


@pytest.mark.parametrize("lengths", [[7, 20], [1, 512], [511, 3]])
@torch.inference_mode()
def test_wan_with_padding_counted_and_layers_packed(lengths):
    sizes: dict[str, Any] = {
        "num_attention_heads": 3,
        "attention_head_dim": 28,
        "text_dim": 20,
        "freq_dim": 16,
        "ffn_dim": 50,
        "num_layers": 2,
    }
    theirs = drawn(diffusers.WanTransformer3DModel(**sizes))
    ours = WanTransformer(WanConfig(**sizes)).eval().requires_grad_(False)
    ours.load_state_dict(theirs.state_dict())
    accelerate(ours)
    latents, text = normal(2, 16, 3, 4, 6), padded(lengths, 20)
    for level in (900.0, 100.0):  # the second step uses keys and values of the first
        timesteps = torch.tensor([level, level])
        expected = theirs(latents, timesteps, text.tokens, return_dict=False)[0]
        assert_same(ours(latents, timesteps, text), expected)


@torch.inference_mode()
def test_latte_with_layers_packed():
    sizes: dict[str, Any] = {
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "cross_attention_dim": 24,
        "num_layers": 2,
        "caption_channels": 20,
        "sample_size": 8,
        "video_length": 3,
    }
    config = LatteConfig(**sizes)
    fields = {name: getattr(config, name) for name in LatteConfig.__dataclass_fields__}
    theirs = drawn(diffusers.LatteTransformer3DModel(**fields))
    ours = LatteTransformer(config).eval().requires_grad_(False)
    ours.load_state_dict(theirs.state_dict())
    accelerate(ours)
    latents, tokens = normal(1, 4, 3, 8, 8), normal(1, 6, 20, seed=2)
    text = TextEmbedding(tokens, torch.ones(1, 6).bool(), tokens[:, 0])
    for level in (900.0, 100.0):
        timestep = torch.tensor([level])
        expected = theirs(latents, timestep, encoder_hidden_states=tokens, return_dict=False)[0][
            :, :4
        ]
        assert_same(ours(latents, timestep, text), expected)


@pytest.mark.parametrize(("h", "w"), [(3, 4), (2, 5)])
@torch.inference_mode()
def test_wan_vae_with_fewer_products(monkeypatch, h, w):
    sizes: dict[str, Any] = {
        "base_dim": 32,
        "z_dim": 4,
        "dim_mult": [1, 2, 2, 2],
        "num_res_blocks": 1,
        "latents_mean": [0.0] * 4,
        "latents_std": [1.0] * 4,
    }
    theirs = drawn(diffusers.AutoencoderKLWan(**sizes))
    told = {name: tuple(v) if isinstance(v, list) else v for name, v in sizes.items()}
    ours = WanVAE(WanVAEConfig(**told)).eval().requires_grad_(False)
    ours.load_state_dict(theirs.state_dict())
    used: list[int] = []
    plain = winograd.convolve
    monkeypatch.setattr(
        "videogen.models.causal_conv.convolve", lambda *args: used.append(1) or plain(*args)
    )
    latents = normal(1, 4, 3, h, w)
    assert_same(ours.decode(latents), theirs.decode(latents).sample)
    assert len(used) > 20
    clip = normal(1, 3, 5, 8 * h, 8 * w).clamp(-1, 1)
    assert_same(ours.posterior(clip)[0], theirs.encode(clip).latent_dist.mean)


@torch.inference_mode()
def test_an_image_vae_with_fewer_products():
    config = ImageVAEConfig(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(32, 64),
        layers_per_block=1,
    )
    fields = {
        "down_block_types": config.down_block_types,
        "up_block_types": config.up_block_types,
        "block_out_channels": config.block_out_channels,
        "layers_per_block": 1,
    }
    theirs = drawn(diffusers.AutoencoderKL(**fields))
    ours = ImageVAE(config).eval().requires_grad_(False)
    ours.load_state_dict(theirs.state_dict())
    latents = normal(2, 4, 1, 5, 6)
    assert_same(ours.decode(latents)[:, :, 0], theirs.decode(latents[:, :, 0]).sample)
