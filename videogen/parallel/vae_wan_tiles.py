"""Exact decoding of Wan in tiles on one device, as `videogen.parallel.vae_tiles` does it.

Attention within a frame is on the latent grid, where maps are small: all up to there is computed on
the whole picture, and tiles follow from there on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from fractions import Fraction
from itertools import pairwise
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional as F

from videogen.models.causal_conv import StreamCache
from videogen.models.wan.vae import WanVAE
from videogen.models.wan.vae_config import WanVAEConfig
from videogen.models.wan.vae_layers import Upsample, WanConv3d, WanResidualBlock
from videogen.parallel.vae_convolution import HaloConv3d, set_halo, share_weights
from videogen.parallel.vae_split import COLUMNS, ROWS
from videogen.parallel.vae_tiles import CarriedHalo, decode_tiles
from videogen.parallel.vae_wan import SharedConv2d, SharedWanVAE


class TiledConv3d(HaloConv3d, WanConv3d):
    """A convolution of a tile; before the first frame there are zeros."""


class TrailingWanBlock(WanResidualBlock):
    """A residual block whose branch trails its input."""

    name: str
    halo: CarriedHalo

    def forward(self, x: Tensor, cache: StreamCache) -> Tensor:
        skip = x if self.conv_shortcut is None else self.conv_shortcut(x)
        x = self.conv1(F.silu(self.norm1(x)), cache)
        x = self.conv2(F.silu(self.norm2(x)), cache)
        return self.halo.align(skip, x.shape[self.halo.dim], self.name) + x


class TiledWanVAE(WanVAE):
    """A Wan VAE that decodes tile after tile; encoding is as before. See `tile_wan_vae`."""

    num_tiles: int
    finish: Callable[[Tensor], Tensor]

    def decode_stream(
        self, chunks: Iterable[Tensor], cache: StreamCache | None = None
    ) -> Generator[Tensor, None, None]:
        """What `WanVAE.decode_stream` yields, after `finish`."""
        cache = {} if cache is None else cache
        for chunk in chunks:
            for latent in chunk.split(1, dim=2):
                yield self._decode_step(latent, cache)

    @torch.no_grad()
    def _decode_step(self, latent: Tensor, cache: StreamCache) -> Tensor:
        decoder = self.decoder
        coarse = decoder.mid_block(decoder.conv_in(self.post_quant_conv(latent), cache), cache)
        dim = ROWS if latent.shape[ROWS] >= latent.shape[COLUMNS] else COLUMNS
        tiles = coarse.split(tile_sizes(self.config, latent.shape[dim], self.num_tiles), dim)
        halo = CarriedHalo(dim)
        self._follow(halo)
        return decode_tiles(
            tiles, halo, cache, lambda tile, past: self.finish(self._rise(tile, past))
        )

    def _rise(self, x: Tensor, cache: StreamCache) -> Tensor:
        decoder = self.decoder
        for block in decoder.up_blocks:
            x = block(x, cache)
        return decoder.conv_out(F.silu(decoder.norm_out(x)), cache).clamp(-1.0, 1.0)

    def _follow(self, halo: CarriedHalo) -> None:
        decoder = self.decoder
        for part in (decoder.up_blocks, decoder.conv_out):
            set_halo(part, halo, TiledConv3d)
        for name, module in decoder.up_blocks.named_modules():
            if isinstance(module, WanResidualBlock):
                module.__class__ = TrailingWanBlock
                assert isinstance(module, TrailingWanBlock)
                module.name, module.halo = name, halo
            elif isinstance(module, Upsample):
                convolution = module.resample[1]
                convolution.__class__ = SharedConv2d
                assert isinstance(convolution, SharedConv2d)
                convolution.name, convolution.halo = name, halo


def tile_wan_vae(vae: WanVAE, num_tiles: int, finish: Callable[[Tensor], Tensor]) -> WanVAE:
    """Decode in tiles: the same frames in less memory; arguments as of `tile_vae`."""
    if isinstance(vae, SharedWanVAE):
        return vae
    tiled = share_weights(vae)
    tiled.__class__ = TiledWanVAE
    assert isinstance(tiled, TiledWanVAE)
    tiled.num_tiles, tiled.finish = num_tiles, finish
    return tiled


def tile_sizes(vae: WanVAEConfig, lines: int, num_tiles: int) -> list[int]:
    """Latent lines of each tile, such that the tiles are about as large where frames come out."""
    trail = trailing_lines(vae)
    ends = [ceil(trail + Fraction(tile * lines, num_tiles)) for tile in range(1, num_tiles)]
    ends = [0, *(end for end in ends if end < lines), lines]
    return [end - start for start, end in pairwise(ends)]


def trailing_lines(vae: WanVAEConfig) -> Fraction:
    """Latent lines to either side that a decoded pixel depends on, attention aside."""
    trail = Fraction(0)
    stages = len(vae.dim_mult)
    for stage in range(stages):
        trail += Fraction(2 * (vae.num_res_blocks + 1), 2**stage)
        if stage < stages - 1:
            trail += Fraction(1, 2 ** (stage + 1))
    return trail + Fraction(1, 2 ** (stages - 1))
