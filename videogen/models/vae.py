"""Causal 3D video VAE: 4x in time, 8x in space, the first frame alone (4n+1 frames).

Every norm is per pixel and nothing attends across frames, so a stream decoded latent frame by
latent frame with carried caches is the clip decoded at once, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from videogen.errors import NonFiniteError
from videogen.models.causal_conv import CausalConv3d, StreamCache, name_convolutions
from videogen.models.config import VAEConfig


class PixelNorm(nn.Module):
    """RMS norm over the channels of each pixel of each frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        # Squares of half precision overflow above 255.
        gain = torch.rsqrt(x.float().square().mean(dim=1, keepdim=True) + 1e-6).to(x.dtype)
        return x * gain * self.scale.view(1, -1, 1, 1, 1)


# Kernels of one stage of a residual block: all three axes at once, space then time, space alone.
FULL = ((3, 3, 3),)
SPLIT = ((1, 3, 3), (3, 1, 1))
SPATIAL = ((1, 3, 3),)
Kernels = tuple[tuple[int, int, int], ...]


class ResidualBlock(nn.Module):
    """Two norm-activate-convolve stages around a skip."""

    def __init__(self, channels: int, kernels: Kernels) -> None:
        super().__init__()
        self.stages = nn.ModuleList(_stage(channels, kernels) for _ in range(2))

    def forward(self, x: Tensor, cache: StreamCache | None = None) -> Tensor:
        return x + self.branch(x, cache)

    def branch(self, x: Tensor, cache: StreamCache | None = None) -> Tensor:
        """What is added to `x`."""
        for stage in self.stages:
            norm, *convolutions = stage  # pyright: ignore[reportGeneralTypeIssues]
            x = F.silu(norm(x))
            for convolution in convolutions:
                x = convolution(x, cache)
        return x


def _stage(channels: int, kernels: Kernels) -> nn.ModuleList:
    convolutions = (CausalConv3d(channels, channels, kernel) for kernel in kernels)
    return nn.ModuleList([PixelNorm(channels), *convolutions])


class TimeUpsample(nn.Module):
    """Doubles the frame rate: n+1 frames become 2n+1, the first frame staying single."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = CausalConv3d(in_channels, 2 * out_channels, (3, 1, 1))

    def forward(self, x: Tensor, cache: StreamCache | None = None) -> Tensor:
        starts = cache is None or self.conv.name not in cache
        x = rearrange(self.conv(x, cache), "b (two c) t h w -> b c (t two) h w", two=2)
        return x[:, :, 1:] if starts else x


class Encoder(nn.Module):
    """Frames `b 3 t h w` to the mean and log-variance of latents, `b 2c t' h/8 w/8`."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        fast, half, slow = config.widths
        self.fold = config.pixel_shuffle
        self.inner = config.space_factor // config.pixel_shuffle
        self.stem = CausalConv3d(3 * self.fold**2, fast, (1, 3, 3))
        self.full_rate = _blocks(fast, config.encoder_blocks[0], SPLIT)
        self.to_half = CausalConv3d(fast, half, (3, 1, 1), stride=2)
        self.half_rate = _blocks(half, config.encoder_blocks[1], SPLIT)
        self.to_slow = CausalConv3d(half * self.inner**2, slow, (3, 1, 1), stride=2)
        self.latent_rate = _blocks(slow, config.encoder_blocks[2], FULL)
        self.norm = PixelNorm(slow)
        self.head = CausalConv3d(slow, 2 * config.latent_channels, (1, 3, 3))

    def forward(self, x: Tensor, cache: StreamCache | None = None) -> Tensor:
        x = self.stem(_fold(x, self.fold), cache)
        x = self.to_half(_run(self.full_rate, x, cache), cache)
        x = self.to_slow(_fold(_run(self.half_rate, x, cache), self.inner), cache)
        return self.head(F.silu(self.norm(_run(self.latent_rate, x, cache))), cache)


class Decoder(nn.Module):
    """Latents `b c t h w` to frames `b 3 4(t-1)+1 8h 8w`."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        fast, half, slow = config.widths
        self.fold = config.pixel_shuffle
        self.inner = config.space_factor // config.pixel_shuffle
        self.stem = CausalConv3d(config.latent_channels, slow, (3, 3, 3))
        self.latent_rate = _blocks(slow, config.decoder_blocks[0], FULL)
        self.to_half = TimeUpsample(slow, half * self.inner**2)
        self.half_rate = _blocks(half, config.decoder_blocks[1], SPLIT)
        self.to_fast = TimeUpsample(half, fast)
        self.full_rate = _blocks(fast, config.decoder_blocks[2], SPLIT)
        self.norm = PixelNorm(fast)
        detail = config.detail_width
        self.to_detail = CausalConv3d(fast, detail * (self.fold // 2) ** 2, (1, 3, 3))
        self.detail = _blocks(detail, config.detail_blocks, SPATIAL)
        self.detail_norm = PixelNorm(detail)
        self.head = CausalConv3d(detail, 3 * 2**2, (1, 3, 3))

    def forward(self, x: Tensor, cache: StreamCache | None = None) -> Tensor:
        x = self.to_half(_run(self.latent_rate, self.stem(x, cache), cache), cache)
        x = self.to_fast(_run(self.half_rate, _unfold(x, self.inner), cache), cache)
        x = self.to_detail(F.silu(self.norm(_run(self.full_rate, x, cache))), cache)
        x = _run(self.detail, _unfold(x, self.fold // 2), cache)
        return _unfold(self.head(F.silu(self.detail_norm(x)), cache), 2)


class VideoVAE(nn.Module):
    """Encoder and decoder between frames in [-1, 1] and latents (not yet normalised)."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        name_convolutions(self)

    def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latents of frames `b 3 t h w` in [-1, 1], t = 4n+1."""
        mean, log_variance = self.encoder(frames).chunk(2, dim=1)
        return mean, log_variance.clamp(-20.0, 10.0)

    def encode(self, frames: Tensor) -> Tensor:
        """Latents `b c t' h/8 w/8` (the posterior mean) of frames `b 3 t h w` in [-1, 1]."""
        return self.posterior(frames)[0]

    def decode_at_once(self, latents: Tensor) -> Tensor:
        """Frames `b 3 t h w` of a whole clip in one pass: for training, where time is parallel."""
        return self.decoder(latents)

    def decode(self, latents: Tensor) -> Tensor:
        """Frames `b 3 4(t-1)+1 8h 8w` in about [-1, 1] of latents `b c t h w`."""
        return torch.cat(list(self.decode_stream([latents])), dim=2)

    def decode_stream(
        self, chunks: Iterable[Tensor], cache: StreamCache | None = None
    ) -> Iterator[Tensor]:
        """Frames of consecutive chunks of latents, one latent frame at a time.

        Args:
            chunks: consecutive latents `b c t h w` of one clip, any t each.
            cache: carries the past; pass one's own to continue a stream later.

        Yields:
            `b 3 f h w`: f = 1 for the clip's first latent frame, else 4. Memory does not depend
            on the clip's length, and frames do not depend on how it was cut into chunks.
        """
        cache = {} if cache is None else cache
        for chunk in chunks:
            for latent in chunk.split(1, dim=2):
                yield self.decoder(latent, cache)


def to_bytes(frames: Tensor) -> Tensor:
    """Frames in [-1, 1] to uint8, in the shape and on the device they are.

    Raises:
        NonFiniteError: they hold NaN or infinity.
    """
    if not torch.isfinite(frames.sum(dtype=torch.float32)):  # in one pass, without a copy
        raise NonFiniteError(
            "frames: got NaN or infinity from the VAE, expected finite numbers. "
            "Fix: leave vae_dtype out; float16 is the likeliest to overflow."
        )
    return frames.float().add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def _blocks(channels: int, count: int, kernels: Kernels) -> nn.ModuleList:
    return nn.ModuleList(ResidualBlock(channels, kernels) for _ in range(count))


def _run(blocks: nn.ModuleList, x: Tensor, cache: StreamCache | None) -> Tensor:
    for block in blocks:
        x = block(x, cache)
    return x


def _fold(x: Tensor, side: int) -> Tensor:
    return rearrange(x, "b c t (h p) (w q) -> b (c p q) t h w", p=side, q=side)


def _unfold(x: Tensor, side: int) -> Tensor:
    return rearrange(x, "b (c p q) t h w -> b c t (h p) (w q)", p=side, q=side)
