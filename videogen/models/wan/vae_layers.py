"""Layers of the Wan VAE: norms per pixel, causal convolutions, and steps in size."""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from videogen.models.attention import attention
from videogen.models.causal_conv import CausalConv3d, StreamCache

CUBE = (3, 3, 3)
ALONG_TIME = (3, 1, 1)


class WanConv3d(CausalConv3d):
    """Causal convolution before whose first frame there is nothing: zeros."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.saves_products = True

    def _before_the_first(self, x: Tensor, taps: int) -> Tensor:
        return no_frames_seen(x, taps - 1)


def no_frames_seen(x: Tensor, num_frames: int) -> Tensor:
    """Zeros for frames before the first of `x` `b c t h w`."""
    b, c, _, h, w = x.shape
    return x.new_zeros(b, c, num_frames, h, w)


class ChannelNorm(nn.Module):
    """Each pixel's channels scaled to the length √c, then by `gamma`."""

    def __init__(self, channels: int, num_axes: int) -> None:
        super().__init__()
        self.root = channels**0.5
        self.gamma = nn.Parameter(torch.ones(channels, *[1] * num_axes))

    def forward(self, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x.float(), dim=1, keepdim=True).clamp_min(1e-12)
        return x * (self.root / length).to(x.dtype) * self.gamma


class WanResidualBlock(nn.Module):
    """Two norm-activate-convolve stages around a skip."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(in_channels, 3)
        self.conv1 = WanConv3d(in_channels, out_channels, CUBE)
        self.norm2 = ChannelNorm(out_channels, 3)
        self.conv2 = WanConv3d(out_channels, out_channels, CUBE)
        same = in_channels == out_channels
        self.conv_shortcut = None if same else WanConv3d(in_channels, out_channels, (1, 1, 1))

    def forward(self, x: Tensor, cache: StreamCache) -> Tensor:
        skip = x if self.conv_shortcut is None else self.conv_shortcut(x)
        x = self.conv1(F.silu(self.norm1(x)), cache)
        x = self.conv2(F.silu(self.norm2(x)), cache)
        return x + skip


class FrameAttention(nn.Module):
    """Single-head attention among the pixels of each frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels, 2)
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, cache: StreamCache) -> Tensor:
        b, _, _, h, _ = x.shape
        frames = rearrange(x, "b c t h w -> (b t) c h w")
        qkv = rearrange(self.to_qkv(self.norm(frames)), "b c h w -> b 1 (h w) c")
        mixed = self.mixed(*qkv.chunk(3, dim=-1))
        out = self.proj(rearrange(mixed, "b 1 (h w) c -> b c h w", h=h))
        return x + rearrange(out, "(b t) c h w -> b c t h w", b=b)

    def mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Values `(b t) 1 s c` as queries weigh them."""
        return attention(q, k, v)


class MiddleBlock(nn.Module):
    """Attention within frames between two residual blocks."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([FrameAttention(channels)])
        self.resnets = nn.ModuleList(WanResidualBlock(channels, channels) for _ in range(2))

    def forward(self, x: Tensor, cache: StreamCache) -> Tensor:
        x = self.attentions[0](self.resnets[0](x, cache), cache)
        return self.resnets[1](x, cache)


class Downsample(nn.Module):
    """Half the height and width and, along time, half the rate of all frames but the first."""

    def __init__(self, channels: int, along_time: bool) -> None:
        super().__init__()
        self.resample = nn.ModuleList([nn.Identity(), nn.Conv2d(channels, channels, 3, stride=2)])
        self.time_conv = WanConv3d(channels, channels, ALONG_TIME, 2) if along_time else None

    def forward(self, x: Tensor, cache: StreamCache) -> Tensor:
        x = _on_frames(self.resample[1], self.beside(x))
        if self.time_conv is None:
            return x
        if self.time_conv.name in cache:
            return self.time_conv(x, cache)
        cache[self.time_conv.name] = x.clone()
        return x

    def beside(self, x: Tensor) -> Tensor:
        """With the row and the column that follow the last ones: zeros."""
        return F.pad(x, (0, 1, 0, 1))


class Upsample(nn.Module):
    """Twice the height and width, half the channels and, along time, twice the rate of frames.

    The first frame stays single; to the frames after it, it counts as nothing (zeros).
    """

    def __init__(self, channels: int, along_time: bool) -> None:
        super().__init__()
        conv = nn.Conv2d(channels, channels // 2, 3, padding=1)
        self.resample = nn.ModuleList([nn.Identity(), conv])
        self.time_conv = WanConv3d(channels, 2 * channels, ALONG_TIME) if along_time else None

    def forward(self, x: Tensor, cache: StreamCache) -> Tensor:
        if self.time_conv is not None:
            if self.time_conv.name in cache:
                faster = self.time_conv(x, cache)
                x = rearrange(faster, "b (two c) t h w -> b c (t two) h w", two=2)
            else:
                cache[self.time_conv.name] = no_frames_seen(x, ALONG_TIME[0] - 1)
        return _on_frames(self.resample[1], F.interpolate(x, scale_factor=(1, 2, 2)))


def _on_frames(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply a layer for pictures to every frame of `b c t h w`."""
    out = layer(rearrange(x, "b c t h w -> (b t) c h w"))
    return rearrange(out, "(b t) c h w -> b c t h w", b=len(x))
