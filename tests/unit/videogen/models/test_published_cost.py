"""Costs computed from configurations must be those of the published models that they build."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from videogen.models import cost
from videogen.models.image_vae.config import ImageVAEConfig
from videogen.models.image_vae.vae import ImageVAE
from videogen.models.latte.config import LATTE_1, LatteConfig
from videogen.models.latte.transformer import LatteTransformer
from videogen.models.meta import on_meta
from videogen.models.text import TextEmbedding
from videogen.models.wan.config import WAN_I2V_14B, WAN_T2V_1_3B, WanConfig
from videogen.models.wan.transformer import KnownFrames, WanTransformer
from videogen.models.wan.vae import WanVAE
from videogen.models.wan.vae_config import WanVAEConfig


def counted(call: Any) -> int:
    """What torch counts on the meta device, so that the published sizes cost nothing."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), torch.device("meta"), sdpa_kernel(SDPBackend.MATH), counter:
        call()
    return counter.get_total_flops()


@pytest.mark.parametrize(
    "dit,shape,length",
    [
        (replace(WAN_T2V_1_3B, num_layers=2), (16, 3, 6, 10), 512),
        (replace(WAN_I2V_14B, num_layers=2), (16, 2, 4, 6), 512),
        (replace(LATTE_1, num_layers=2), (4, 5, 6, 4), 120),
    ],
)
def test_forward_flops(dit: WanConfig | LatteConfig, shape: cost.LatentShape, length: int) -> None:
    width = dit.text_dim if isinstance(dit, WanConfig) else dit.caption_channels
    tokens = torch.empty(1, length, width, device="meta")
    text = TextEmbedding(tokens, torch.ones(1, length, dtype=torch.bool), tokens[:, 0])
    told: dict[str, Any] = {}
    if isinstance(dit, WanConfig) and dit.image_dim is not None:
        known = torch.empty(1, dit.condition_channels, *shape[1:], device="meta")
        told = {"known": KnownFrames(known, torch.empty(1, 257, dit.image_dim, device="meta"))}
    with on_meta():
        model = WanTransformer(dit) if isinstance(dit, WanConfig) else LatteTransformer(dit)
    latents = torch.empty(1, *shape, device="meta")
    timesteps = torch.empty(1, shape[1], device="meta")
    expected = counted(lambda: model(latents, timesteps, text, **told))
    assert cost.forward_flops(dit, shape, length).total == expected


@pytest.mark.parametrize(
    "vae",
    [WanVAEConfig(), WanVAEConfig(base_dim=32, num_res_blocks=1)],
)
def test_decoding_wan(vae: WanVAEConfig) -> None:
    with on_meta():
        model = WanVAE(vae)
    latents, cache = torch.empty(1, vae.z_dim, 3, 4, 6, device="meta"), {}
    expected = counted(lambda: list(model.decode_stream([latents], cache)))
    assert cost.decode_flops(vae, (vae.z_dim, 3, 4, 6)) == expected
    carried = sum(each.untyped_storage().nbytes() for each in cache.values())
    assert cost.decode_cache_bytes(vae, 32, 48) == carried


@pytest.mark.parametrize("across_frames", [False, True])
def test_decoding_latte(across_frames: bool) -> None:
    vae = ImageVAEConfig(across_frames=across_frames)
    with on_meta():
        model = ImageVAE(vae, across_frames)
    latents = torch.empty(1, 4, 5, 4, 6, device="meta")
    expected = counted(lambda: list(model.decode_stream([latents])))
    assert cost.decode_flops(vae, (4, 5, 4, 6)) == expected
