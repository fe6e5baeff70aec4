"""Timestep, text and image as vectors of a Wan transformer's width."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videogen.models.embeddings import sinusoids
from videogen.models.sublayers import FeedForward, TextProjection, TimeMLP
from videogen.models.wan.config import WanConfig


class ImageProjection(nn.Module):
    """CLIP tokens `b m c` to `b m d`; positions tell a first frame's from a last frame's."""

    def __init__(self, in_width: int, width: int, num_positions: int | None) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(in_width), nn.LayerNorm(width)
        self.ff = FeedForward(in_width, in_width, width, approximate="none")
        self.pos_embed = (
            None if num_positions is None else nn.Parameter(torch.zeros(1, num_positions, in_width))
        )

    def forward(self, tokens: Tensor) -> Tensor:
        if self.pos_embed is not None:
            tokens = tokens + self.pos_embed
        return _in_float32(self.norm2, self.ff(_in_float32(self.norm1, tokens)))


class WanConditions(nn.Module):
    """All that a Wan transformer is told beside the latents."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        d = config.width
        self.freq_dim = config.freq_dim
        self.time_embedder = TimeMLP(config.freq_dim, d)
        self.time_proj = nn.Linear(d, 6 * d)
        self.text_embedder = TextProjection(config.text_dim, d)
        self.image_embedder = (
            None
            if config.image_dim is None
            else ImageProjection(config.image_dim, d, config.pos_embed_seq_len)
        )

    def time(self, timesteps: Tensor, dtype: torch.dtype) -> Tensor:
        """Timesteps of any shape, in [0, 1000], to vectors `... d` in `dtype`."""
        waves = sinusoids(timesteps, self.freq_dim)
        return self.time_embedder(waves.to(self.time_embedder.linear_1.weight.dtype)).to(dtype)

    def modulation(self, time: Tensor) -> Tensor:
        """Vectors of timesteps `b t d` to what modulates the blocks, `b t 6 d`."""
        return self.time_proj(F.silu(time)).unflatten(-1, (6, -1))


def _in_float32(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    weight, bias = norm.weight.float(), norm.bias.float()
    return F.layer_norm(x.float(), norm.normalized_shape, weight, bias, norm.eps).to(x.dtype)
