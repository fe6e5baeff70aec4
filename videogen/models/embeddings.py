"""Patches and timesteps as vectors."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F


def patchify(latents: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """Latents `b c t h w` to spacetime patches `b t s (c p q)`, s = h/p * w/q."""
    _, p, q = patch
    return rearrange(latents, "b c t (h p) (w q) -> b t (h w) (c p q)", p=p, q=q)


def unpatchify(patches: Tensor, patch: tuple[int, int, int], height: int) -> Tensor:
    """Patches `b t s (c p q)` back to latents `b c t h w`; `height` counts tokens along h."""
    _, p, q = patch
    return rearrange(patches, "b t (h w) (c p q) -> b c t (h p) (w q)", h=height, p=p, q=q)


class TimestepEmbedding(nn.Module):
    """Sinusoids of the timestep (Vaswani et al. 2017) through a two-layer MLP."""

    num_frequencies = 128

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rise = nn.Linear(2 * self.num_frequencies, width)
        self.out = nn.Linear(width, width)

    def forward(self, timesteps: Tensor) -> Tensor:
        """Timesteps `b t` in [0, 1000] to vectors `b t d`."""
        waves = sinusoids(timesteps, 2 * self.num_frequencies).to(self.rise.weight.dtype)
        return self.out(F.silu(self.rise(waves)))


def sinusoids(timesteps: Tensor, width: int) -> Tensor:
    """Cosines, then sines, of timesteps at falling frequencies: `... width`, float32."""
    pairs = width // 2
    steps = torch.arange(pairs, device=timesteps.device, dtype=torch.float32)
    angles = timesteps.float()[..., None] * torch.exp(-math.log(10000.0) * steps / pairs)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)
