"""The Wan 2.1 VAE (2503.20314, section 4.1): causal, 4x in time, 8x in space, 4n+1 frames.

Frames go in and out as the clip goes on, one first, then four at a time, with the past of every
convolution carried; so memory does not depend on the clip's length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videogen.errors import InvalidRequestError
from videogen.models.causal_conv import StreamCache, name_convolutions
from videogen.models.wan.vae_config import WanVAEConfig
from videogen.models.wan.vae_layers import (
    CUBE,
    ChannelNorm,
    Downsample,
    MiddleBlock,
    Upsample,
    WanConv3d,
    WanResidualBlock,
)


class WanEncoder(nn.Module):
    """Some frames `b 3 t h w`, one at first and then four, to moments `b 2c 1 h/8 w/8`."""

    def __init__(self, config: WanVAEConfig) -> None:
        super().__init__()
        widths = config.encoder_widths
        self.conv_in = WanConv3d(config.in_channels, widths[0], CUBE)
        self.down_blocks = nn.ModuleList(_down_blocks(config))
        self.mid_block = MiddleBlock(widths[-1])
        self.norm_out = ChannelNorm(widths[-1], 3)
        self.conv_out = WanConv3d(widths[-1], 2 * config.z_dim, CUBE)

    def forward(self, x: Tensor, cache: StreamCache) -> Tensor:
        x = self.conv_in(x, cache)
        for block in (*self.down_blocks, self.mid_block):
            x = block(x, cache)
        return self.conv_out(F.silu(self.norm_out(x)), cache)


def _down_blocks(config: WanVAEConfig) -> Iterator[nn.Module]:
    widths = config.encoder_widths
    for stage, out_channels in enumerate(widths[1:]):
        for i in range(config.num_res_blocks):
            yield WanResidualBlock(out_channels if i else widths[stage], out_channels)
        if stage < len(config.temperal_downsample):
            yield Downsample(out_channels, config.temperal_downsample[stage])


class UpBlock(nn.Module):
    """Residual blocks, and a step up in size but in the last."""

    def __init__(self, channels: list[int], upsample: Upsample | None) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(WanResidualBlock(*pair) for pair in pairwise(channels))
        self.upsamplers = None if upsample is None else nn.ModuleList([upsample])

    def forward(self, x: Tensor, cache: StreamCache) -> Tensor:
        for block in (*self.resnets, *(self.upsamplers or ())):
            x = block(x, cache)
        return x


class WanDecoder(nn.Module):
    """One latent frame `b c 1 h w` to its frames, `b 3 f 8h 8w`: f = 1 at first, then 4."""

    def __init__(self, config: WanVAEConfig) -> None:
        super().__init__()
        widths = config.decoder_widths
        self.conv_in = WanConv3d(config.z_dim, widths[0], CUBE)
        self.mid_block = MiddleBlock(widths[0])
        self.up_blocks = nn.ModuleList(_up_blocks(config))
        self.norm_out = ChannelNorm(widths[-1], 3)
        self.conv_out = WanConv3d(widths[-1], config.out_channels, CUBE)

    def forward(self, x: Tensor, cache: StreamCache) -> Tensor:
        x = self.conv_in(x, cache)
        for block in (self.mid_block, *self.up_blocks):
            x = block(x, cache)
        return self.conv_out(F.silu(self.norm_out(x)), cache)


def _up_blocks(config: WanVAEConfig) -> Iterator[UpBlock]:
    widths, faster = config.decoder_widths, config.temperal_downsample[::-1]
    for stage, channels in enumerate(widths[1:]):
        # A step up in size has halved the channels already.
        first = widths[stage] // 2 if stage else widths[stage]
        inner = [first, *[channels] * (config.num_res_blocks + 1)]
        upsample = Upsample(channels, faster[stage]) if stage < len(faster) else None
        yield UpBlock(inner, upsample)


class WanVAE(nn.Module):
    """Encoder and decoder between frames in [-1, 1] and latents (not yet normalised)."""

    def __init__(self, config: WanVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = WanEncoder(config)
        self.quant_conv = WanConv3d(2 * config.z_dim, 2 * config.z_dim, (1, 1, 1))
        self.post_quant_conv = WanConv3d(config.z_dim, config.z_dim, (1, 1, 1))
        self.decoder = WanDecoder(config)
        name_convolutions(self)

    def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latents of frames `b 3 t h w` in [-1, 1], t = 4n+1.

        Raises:
            InvalidRequestError: another number of frames.
        """
        factor = self.config.time_factor
        if (frames.shape[2] - 1) % factor:
            raise InvalidRequestError(
                f"frames: got {frames.shape[2]}, expected {factor}n+1. Fix: repeat the last one."
            )
        cache: StreamCache = {}
        moments = torch.cat([self.encoder(x, cache) for x in chunks_of(frames, factor)], dim=2)
        mean, log_variance = self.quant_conv(moments).chunk(2, dim=1)
        return mean, log_variance.clamp(-30.0, 20.0)

    def encode(self, frames: Tensor) -> Tensor:
        """Latents `b c t' h/8 w/8` (the posterior mean) of frames `b 3 t h w` in [-1, 1]."""
        return self.posterior(frames)[0]

    def decode(self, latents: Tensor) -> Tensor:
        """Frames `b 3 4(t-1)+1 8h 8w` in [-1, 1] of latents `b c t h w`."""
        return torch.cat(list(self.decode_stream([latents])), dim=2)

    def decode_stream(
        self, chunks: Iterable[Tensor], cache: StreamCache | None = None
    ) -> Iterator[Tensor]:
        """Frames of consecutive chunks of latents, one latent frame at a time.

        Args:
            chunks: consecutive latents `b c t h w` of one clip, any t each.
            cache: carries the past; pass one's own to continue a stream later.

        Yields:
            `b 3 f h w` in [-1, 1]: f = 1 for the clip's first latent frame, else 4. Memory does not
            depend on the clip's length, and frames do not depend on how it was cut into chunks.
        """
        cache = {} if cache is None else cache
        for chunk in chunks:
            for latent in chunk.split(1, dim=2):
                yield self.decoder(self.post_quant_conv(latent), cache).clamp(-1.0, 1.0)


def chunks_of(frames: Tensor, time_factor: int) -> list[Tensor]:
    """Frames `b c t h w` as the encoder takes them: the first alone, then `time_factor` each."""
    first, rest = frames[:, :, :1], frames[:, :, 1:]
    return [first, *(rest.split(time_factor, dim=2) if rest.shape[2] else ())]
