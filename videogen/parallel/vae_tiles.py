"""Exact decoding in tiles on one device: less memory, no seams, nothing computed twice.

Tiles are consecutive bands of the picture. A convolution keeps the last lines of one tile for the
next, as it keeps past frames; it cannot see ahead, so what it gives trails its input by a line, and
the tiles shift from layer to layer until the last one catches up at the border.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from math import ceil

import torch
from torch import Tensor

from videogen.models.causal_conv import StreamCache
from videogen.models.config import VAEConfig
from videogen.models.vae import ResidualBlock, VideoVAE
from videogen.parallel.vae import ShardedVAE
from videogen.parallel.vae_convolution import set_halo, share_weights
from videogen.parallel.vae_split import COLUMNS, ROWS


class CarriedHalo:
    """Lines before a tile come from the tile before it; the tile waits for those after it."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._lines: dict[str, Tensor] = {}
        self.is_last = False

    def start_picture(self) -> None:
        """Forget the lines of the picture before."""
        self._lines.clear()

    def extend(self, x: Tensor, reach: int, layer: str) -> Tensor:
        """Put what is left of the tile before in front, and zeros at the picture's borders."""
        border = x.new_zeros([*x.shape[: self.dim], reach, *x.shape[self.dim + 1 :]])
        before = self._lines.pop(layer, border)
        x = torch.cat([before, x, border] if self.is_last else [before, x], dim=self.dim)
        if not self.is_last:
            self._keep(layer, x, min(2 * reach, x.shape[self.dim]))
        return x

    def align(self, x: Tensor, length: int, layer: str) -> Tensor:
        """The next `length` lines of a stream that others trail; later ones are kept for then."""
        if layer in self._lines:
            x = torch.cat([self._lines.pop(layer), x], dim=self.dim)
        if not self.is_last:
            self._keep(layer, x, x.shape[self.dim] - length)
        return x.narrow(self.dim, 0, length)

    def _keep(self, layer: str, x: Tensor, length: int) -> None:
        self._lines[layer] = x.narrow(self.dim, x.shape[self.dim] - length, length).clone()


class TrailingBlock(ResidualBlock):
    """A residual block whose branch trails its input."""

    name: str
    halo: CarriedHalo

    def forward(self, x: Tensor, cache: StreamCache | None = None) -> Tensor:
        residual = self.branch(x, cache)
        return self.halo.align(x, residual.shape[self.halo.dim], self.name) + residual


class TiledVAE(VideoVAE):
    """A VAE that decodes tile after tile; encoding is as before. See `tile_vae`."""

    num_tiles: int
    finish: Callable[[Tensor], Tensor]

    def decode_stream(
        self, chunks: Iterable[Tensor], cache: StreamCache | None = None
    ) -> Generator[Tensor, None, None]:
        """What `VideoVAE.decode_stream` yields, after `finish`."""
        cache = {} if cache is None else cache
        for chunk in chunks:
            for latent in chunk.split(1, dim=2):
                yield self._decode_step(latent, cache)

    @torch.no_grad()
    def _decode_step(self, latent: Tensor, cache: StreamCache) -> Tensor:
        dim = ROWS if latent.shape[ROWS] >= latent.shape[COLUMNS] else COLUMNS
        tiles = latent.split(tile_sizes(self.config, latent.shape[dim], self.num_tiles), dim)
        halo = CarriedHalo(dim)
        _follow(self, halo)
        return decode_tiles(
            tiles, halo, cache, lambda tile, past: self.finish(self.decoder(tile, past))
        )


def decode_tiles(
    tiles: Sequence[Tensor],
    halo: CarriedHalo,
    cache: StreamCache,
    decode: Callable[[Tensor, StreamCache], Tensor],
) -> Tensor:
    """Frames of a picture from its tiles, each decoded with a past of its own in `cache`."""
    parts = []
    for number, tile in enumerate(tiles):
        halo.is_last = number == len(tiles) - 1
        past = take_entries(cache, f"{number}:")
        parts.append(decode(tile, past))
        cache.update({f"{number}:{layer}": frames for layer, frames in past.items()})
    return torch.cat(parts, dim=halo.dim)


def tile_vae(
    vae: VideoVAE, num_tiles: int, finish: Callable[[Tensor], Tensor] = lambda frames: frames
) -> VideoVAE:
    """Decode in tiles: the same frames in less memory; `vae` itself stays, weights are shared.

    A VAE on many ranks is handed back as it is: each rank holds a part already.

    Args:
        num_tiles: at most so many; 2, 4, 8, … for pictures that did not fit.
        finish: done to a tile's frames before the tiles come together, pixel by pixel: converting
            them to bytes there, or moving them to the CPU, takes that memory off the device too.
    """
    if isinstance(vae, ShardedVAE):
        return vae
    tiled = share_weights(vae)
    tiled.__class__ = TiledVAE
    assert isinstance(tiled, TiledVAE)
    tiled.num_tiles, tiled.finish = num_tiles, finish
    return tiled


def tile_sizes(vae: VAEConfig, lines: int, num_tiles: int) -> list[int]:
    """Latent lines of each tile, such that the tiles are about as large where frames come out."""
    trail = trailing_lines(vae)
    ends = [ceil(trail + Fraction(tile * lines, num_tiles)) for tile in range(1, num_tiles)]
    ends = [0, *(end for end in ends if end < lines), lines]
    return [end - start for start, end in pairwise(ends)]


def trailing_lines(vae: VAEConfig) -> Fraction:
    """Latent lines to either side that a decoded pixel depends on."""
    coarse = 1 + 2 * vae.decoder_blocks[0]
    fine = 2 * (vae.decoder_blocks[1] + vae.decoder_blocks[2]) + 1
    finest = 2 * vae.detail_blocks + 1
    inner = vae.space_factor // vae.pixel_shuffle
    return coarse + Fraction(fine, inner) + Fraction(finest, vae.space_factor // 2)


def _follow(vae: VideoVAE, halo: CarriedHalo) -> None:
    set_halo(vae.decoder, halo)
    for name, block in vae.decoder.named_modules():
        if isinstance(block, ResidualBlock):
            block.__class__ = TrailingBlock
            assert isinstance(block, TrailingBlock)
            block.name, block.halo = name, halo


def take_entries(cache: StreamCache, prefix: str) -> StreamCache:
    """Take the entries of one tile out of the cache of all."""
    names = [name for name in cache if name.startswith(prefix)]
    return {name.removeprefix(prefix): cache.pop(name) for name in names}
