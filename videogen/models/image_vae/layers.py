"""Layers of image VAEs: residual blocks, attention within a picture, steps in size."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from videogen.models.attention import attention
from videogen.models.winograd import convolve_pictures, is_worthwhile

EPS = 1e-6


class PictureConv2d(nn.Conv2d):
    """A 3x3 convolution that keeps the size, with fewer products where that pays."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (as in the base)
        if is_worthwhile(input, self.weight):
            return convolve_pictures(input, self.weight, self.bias)
        return super().forward(input)


class ResidualBlock(nn.Module):
    """Two norm-activate-convolve stages around a skip, on pictures `b c h w`."""

    def __init__(self, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels, EPS)
        self.conv1 = PictureConv2d(in_channels, out_channels)
        self.norm2 = nn.GroupNorm(groups, out_channels, EPS)
        self.conv2 = PictureConv2d(out_channels, out_channels)
        same = in_channels == out_channels
        self.conv_shortcut = None if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.conv_shortcut is None else self.conv_shortcut(x)
        x = self.conv1(F.silu(self.norm1(x)))
        return skip + self.conv2(F.silu(self.norm2(x)))


class PictureAttention(nn.Module):
    """Single-head attention among the pixels of each picture."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, channels, EPS)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        h = x.shape[2]
        pixels = rearrange(self.group_norm(x), "b c h w -> b (h w) c")
        q, k, v = (project(pixels)[:, None] for project in (self.to_q, self.to_k, self.to_v))
        out = self.to_out[0](attention(q, k, v)[:, 0])
        return x + rearrange(out, "b (h w) c -> b c h w", h=h)


class Resize(nn.Module):
    """A convolution that halves (`stride` 2) pictures, or follows their doubling."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride, padding=2 - stride)

    def forward(self, x: Tensor) -> Tensor:
        if self.conv.stride == (2, 2):
            return self.conv(F.pad(x, (0, 1, 0, 1)))
        x = F.interpolate(x, scale_factor=2)
        if is_worthwhile(x, self.conv.weight):
            return convolve_pictures(x, self.conv.weight, self.conv.bias)
        return self.conv(x)
