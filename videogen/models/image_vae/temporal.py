"""Residual blocks across frames (Stable Video Diffusion, 2311.15127), after those of pictures."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from videogen.models.image_vae.layers import ResidualBlock

EPS = 1e-5
GROUPS = 32


class _AlongTime(nn.Module):
    """Two norm-activate-convolve stages around a skip, on clips `b c t h w`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, channels, EPS)
        self.conv1 = nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0))
        self.norm2 = nn.GroupNorm(GROUPS, channels, EPS)
        self.conv2 = nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(y)))


class _Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix_factor = nn.Parameter(torch.zeros(1))


class TemporalResidualBlock(nn.Module):
    """Within pictures, then across them, blended by a learned share.

    All pictures it is given at once, `(b t) c h w`, are the `t` frames of one clip, b = 1.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.spatial_res_block = ResidualBlock(in_channels, out_channels, GROUPS)
        self.temporal_res_block = _AlongTime(out_channels)
        self.time_mixer = _Mixer()

    def forward(self, x: Tensor) -> Tensor:
        alone = self.spatial_res_block(x)
        together = self.temporal_res_block(rearrange(alone, "t c h w -> 1 c t h w"))
        together = rearrange(together, "1 c t h w -> t c h w")
        return torch.lerp(alone, together, self.time_mixer.mix_factor.sigmoid().to(alone.dtype))
