"""What ranks are asked to do with small models of published kinds; imported by their processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

import videogen
from tests.distributed.pool import Rank
from videogen.models.latte.config import LatteConfig
from videogen.models.latte.transformer import LatteTransformer
from videogen.models.text import TextEmbedding
from videogen.models.wan.config import WanConfig
from videogen.models.wan.experts import NoiseExperts
from videogen.models.wan.transformer import KnownFrames, WanTransformer
from videogen.parallel.apply import parallelize, parallelize_generator

HEADS = 3
Name = Literal["wan", "wan-image", "wan-experts", "latte"]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A model, and latents in patches of one cell."""

    model: Name
    t: int = 3
    h: int = 2
    w: int = 3
    batch: int = 1
    seq_degree: int = 1


def make_model(name: Name) -> Any:
    """A model with weights that use every part, the same in every process."""
    torch.manual_seed(0)
    model = _build(name)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape) * parameter.shape[-1] ** -0.5
    return model.eval().requires_grad_(False)


def _build(name: Name) -> Any:
    if name == "latte":
        sizes: dict[str, Any] = {"num_attention_heads": HEADS, "attention_head_dim": 8}
        rest: dict[str, Any] = {"cross_attention_dim": 24, "num_layers": 2, "sample_size": 4}
        return LatteTransformer(
            LatteConfig(**sizes, **rest, patch_size=1, caption_channels=6, video_length=3)
        )
    image: dict[str, Any] = {}
    if name == "wan-image":
        image = {"in_channels": 7, "image_dim": 5, "added_kv_proj_dim": 24}
    config: dict[str, Any] = {
        "patch_size": (1, 1, 1),
        "num_attention_heads": HEADS,
        "attention_head_dim": 8,
        "in_channels": 4,
        "out_channels": 4,
        "text_dim": 6,
        "freq_dim": 8,
        "ffn_dim": 20,
        "num_layers": 2,
    }
    made = [WanTransformer(WanConfig(**config | image)) for _ in range(2)]
    return NoiseExperts(made[0], made[1], 500.0) if name == "wan-experts" else made[0]


def forward(clip: Clip, model: Any, timestep: float) -> Tensor:
    """One forward of a clip."""
    shape = clip.batch, 4, clip.t, clip.h, clip.w
    tokens = _normal(2, clip.batch, 5, 6)
    text = TextEmbedding(tokens, torch.ones(clip.batch, 5).bool(), tokens[:, 0])
    timesteps = torch.full((clip.batch,), timestep)
    extra: dict[str, Any] = {}
    if clip.model == "wan-image":
        known = KnownFrames(_normal(3, clip.batch, 3, *shape[2:]), _normal(4, clip.batch, 4, 5))
        extra = {"known": known}
    with torch.inference_mode():
        return model(_normal(1, *shape), timesteps, text, **extra)


def run(rank: Rank, clip: Clip) -> list[np.ndarray]:
    """A forward at high and one at low noise, on a mesh."""
    model = parallelize(make_model(clip.model), rank.mesh(1, clip.seq_degree))
    return [forward(clip, model, timestep).numpy() for timestep in (900.0, 100.0)]


def traffic(rank: Rank, clip: Clip) -> dict[str, dict[str, float]]:
    """What a forward sends."""
    mesh = rank.mesh(1, clip.seq_degree)
    forward(clip, parallelize(make_model(clip.model), mesh), 900.0)
    return mesh.counters.snapshot()


def _normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def make_clip(rank: Rank, folder: str, fields: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Latents and frames of a clip of a published model, by two ranks that share its tokens."""
    generator = parallelize_generator(videogen.load(folder, device="cpu"), rank.mesh(1, 2))
    latents = generator.denoise(generator.resolve(**fields))
    return latents.numpy(), np.concatenate(list(generator.decode(latents)))
