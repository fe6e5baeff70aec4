"""What ranks are asked to do with small models of published kinds; imported by their processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

import videogen
from tests.distributed.pool import Rank
from videogen.generator import VideoGenerator
from videogen.models.causal_conv import StreamCache
from videogen.models.latte.config import LatteConfig
from videogen.models.latte.transformer import LatteTransformer
from videogen.models.text import TextEmbedding
from videogen.models.wan.config import WanConfig
from videogen.models.wan.experts import NoiseExperts
from videogen.models.wan.transformer import KnownFrames, WanTransformer
from videogen.models.wan.vae import WanVAE
from videogen.models.wan.vae_config import WanVAEConfig
from videogen.parallel.apply import Weights, parallelize, parallelize_generator
from videogen.parallel.vae_wan import share_wan_vae
from videogen.parallel.weights import local_weight_bytes

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


Made = tuple[list[np.ndarray], np.ndarray, int]
"""Latents of each clip, frames of all, and the bytes of the weights that this rank keeps."""


def make_clips(
    rank: Rank,
    folder: str,
    rows: list[dict[str, Any]],
    degrees: tuple[int, int],
    weights: Weights = "whole",
    start: np.ndarray | None = None,
) -> Made:
    """Clips of a published model, by the ranks of a mesh of (cfg, seq) `degrees`."""
    generator = videogen.load(folder, device="cpu")
    parallelize_generator(generator, rank.mesh(*degrees), weights=weights)
    kept = local_weight_bytes(generator.model.dit)  # before they are packed for use
    latents, frames = [], []
    for row in rows:
        made, its_frames = clip_of(generator, row, start)
        latents.append(made)
        frames.append(its_frames)
    return latents, np.concatenate(frames), kept


def clip_of(
    generator: VideoGenerator, row: dict[str, Any], start: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Latents and frames of a clip, decoded chunk by chunk."""
    cache: StreamCache = {}
    latents, frames = [], []
    for chunk in generator.stream(generator.resolve(**row), start=start):
        latents.append(chunk.latents.numpy())
        frames += list(generator.decode_chunk(chunk, cache))
    return np.concatenate(latents, axis=1), np.concatenate(frames)


def share_vae(rank: Rank, shape: tuple[int, int, int], seq_degree: int) -> tuple[float, float]:
    """Largest differences to one rank alone: of decoded frames, on rank 0, and of latents."""
    mesh, (t, h, w) = rank.mesh(1, seq_degree), shape
    vae = _wan_vae()
    shared = share_wan_vae(vae, mesh.gang)
    latents, frames = _normal(5, 1, 4, t, h, w), _normal(6, 1, 3, 4 * t - 3, 8 * h, 8 * w)
    with torch.no_grad():
        expected = vae.decode(latents)
        found = torch.cat(list(shared.decode_stream([latents])), dim=2)
        everywhere = torch.cat(list(shared.decode_everywhere([latents])), dim=2)
        encoded = (shared.encode(frames) - vae.encode(frames)).abs().max().item()
    assert (everywhere - expected).abs().max().item() <= 1e-4
    if mesh.gang.rank:
        return float(found.shape[2]), encoded
    return (found - expected).abs().max().item(), encoded


def _wan_vae() -> WanVAE:
    torch.manual_seed(0)
    vae = WanVAE(WanVAEConfig(base_dim=4, z_dim=4, num_res_blocks=1, **_STATISTICS))
    for parameter in vae.parameters():
        parameter.data = torch.randn(parameter.shape) * (0.3 + parameter[0].numel() ** -0.5)
    return vae.eval().requires_grad_(False)


_STATISTICS: dict[str, Any] = {"latents_mean": (0.0,) * 4, "latents_std": (1.0,) * 4}
