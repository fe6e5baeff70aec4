"""The Wan VAE on many ranks: each works on some latent rows or columns of every frame.

As `videogen.parallel.vae`, and exact too: steps in size exchange a line as convolutions do, and
attention within a frame, which is on the latent grid, sees the keys and values of all ranks.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videogen.models.attention import attention
from videogen.models.causal_conv import StreamCache
from videogen.models.wan.vae import WanVAE, chunks_of
from videogen.models.wan.vae_layers import Downsample, FrameAttention, Upsample, WanConv3d
from videogen.parallel.vae import PerPixel, unchanged
from videogen.parallel.vae_convolution import Halo, set_halo, share_weights
from videogen.parallel.vae_exchange import (
    GATHER,
    ExchangeConv3d,
    NeighbourHalo,
    Peers,
    all_gather,
    gather,
)
from videogen.parallel.vae_split import ROWS, Split


class SharedConv3d(ExchangeConv3d, WanConv3d):
    """A convolution of a rank's part; before the first frame there are zeros."""


class SharedConv2d(nn.Conv2d):
    """A convolution of a part of pictures `(b t) c h w`, after a step up in size."""

    halo: Halo
    name: str

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (called so by torch)
        cut = self.halo.dim - 1
        x = self.halo.extend(input.unsqueeze(2), 1, self.name).squeeze(2)
        padding = [int(dim != cut) for dim in (2, 3)]
        return F.conv2d(x, self.weight, self.bias, self.stride, padding)


class SharedDownsample(Downsample):
    """A step down of a rank's part; a line of the next rank's is seen."""

    halo: NeighbourHalo
    name: str

    def beside(self, x: Tensor) -> Tensor:
        cut = self.halo.dim
        lines = x.shape[cut]
        x = self.halo.extend(x, 1, self.name).narrow(cut, 1, lines + 1)
        return F.pad(x, (0, 1, 0, 0) if cut == ROWS else (0, 0, 0, 1))


class SharedAttention(FrameAttention):
    """Attention of a rank's pixels to those of all ranks, frame by frame."""

    peers: Peers
    split: Split

    def mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attention(q, self._of_all(k), self._of_all(v))

    def _of_all(self, mine: Tensor) -> Tensor:
        """Keys or values `(b t) 1 s c` of all ranks; their order does not matter."""
        size, rank = self.split.sizes, self.peers.rank
        per_line = mine.shape[2] // size[rank]
        parts = [mine.new_empty(*mine.shape[:2], n * per_line, mine.shape[3]) for n in size if n]
        parts[rank] = mine.contiguous()
        others = [other for other in range(len(parts)) if other != rank]
        sends = [(parts[rank], other) for other in others]
        self.peers.exchange(sends, [(parts[other], other) for other in others], GATHER)
        return torch.cat(parts, dim=2)


class SharedWanVAE(WanVAE):
    """A Wan VAE that all ranks call together, with the same arguments."""

    peers: Peers
    finish: PerPixel

    def decode_stream(
        self, chunks: Iterable[Tensor], cache: StreamCache | None = None
    ) -> Generator[Tensor, None, None]:
        """As `videogen.parallel.vae.ShardedVAE.decode_stream`."""
        cache = {} if cache is None else cache
        steps = (frame for chunk in chunks for frame in chunk.split(1, dim=2))
        try:
            for latent in steps:
                whole = self._decode_step(latent, cache)
                yield self._nothing(latent) if whole is None else whole
        except GeneratorExit:
            for latent in steps:
                self._decode_step(latent, cache)
            raise

    def decode_everywhere(
        self, chunks: Iterable[Tensor], cache: StreamCache | None = None
    ) -> Iterator[Tensor]:
        """Frames of consecutive chunks of latents, whole on every rank."""
        cache = {} if cache is None else cache
        for chunk in chunks:
            for latent in chunk.split(1, dim=2):
                split, part = self._decode_part(latent, cache)
                yield all_gather(self.peers, split, part, self.config.space_factor)

    @torch.no_grad()
    def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, whole on every rank, of frames that are whole on every rank."""
        side, (_, _, _, height, width) = self.config.space_factor, frames.shape
        split = self._take_part(height // side, width // side)
        if split.is_active(self.peers.rank):
            mine, cache = split.take(frames, self.peers.rank, side), {}
            chunks = chunks_of(mine, self.config.time_factor)
            part = self.quant_conv(torch.cat([self.encoder(x, cache) for x in chunks], dim=2))
        else:
            t = self.config.latent_frames(frames.shape[2])
            lines = (0, width // side) if split.dim == ROWS else (height // side, 0)
            part = frames.new_empty(len(frames), 2 * self.config.z_dim, t, *lines)
        mean, log_variance = all_gather(self.peers, split, part, scale=1).chunk(2, dim=1)
        return mean, log_variance.clamp(-30.0, 20.0)

    def _decode_step(self, latent: Tensor, cache: StreamCache) -> Tensor | None:
        """The frames of a latent frame on rank 0, None elsewhere."""
        split, part = self._decode_part(latent, cache)
        return gather(self.peers, split, part, self.config.space_factor)

    @torch.no_grad()
    def _decode_part(self, latent: Tensor, cache: StreamCache) -> tuple[Split, Tensor]:
        b, _, _, h, w = latent.shape
        split = self._take_part(h, w)
        if split.is_active(self.peers.rank):
            mine = split.take(latent, self.peers.rank)
            frames = self.decoder(self.post_quant_conv(mine), cache)
            return split, self.finish(frames.clamp(-1.0, 1.0))
        side, num_frames = self.config.space_factor, self._num_frames(cache)
        lines = (0, side * w) if split.dim == ROWS else (side * h, 0)
        return split, self.finish(latent.new_empty(b, 3, num_frames, *lines))

    def _num_frames(self, cache: StreamCache) -> int:
        """Frames of the next latent frame, on a rank without lines, which counts in the cache."""
        is_first = SEEN not in cache
        cache[SEEN] = torch.ones(1)
        return 1 if is_first else self.config.time_factor

    def _nothing(self, latent: Tensor) -> Tensor:
        b, _, _, h, w = latent.shape
        side = self.config.space_factor
        return self.finish(latent.new_empty(b, 3, 0, side * h, side * w))

    def _take_part(self, h: int, w: int) -> Split:
        """Share out pictures of latent size `h w`, and have the layers follow."""
        split = Split.of_latents(h, w, self.peers.size)
        if not split.is_active(self.peers.rank):
            return split
        halo = NeighbourHalo(self.peers, split)
        set_halo(self, halo, SharedConv3d)
        for module in self.modules():
            if isinstance(module, SharedConv2d | SharedDownsample):
                module.halo = halo
            elif isinstance(module, SharedAttention):
                module.split = split
        return split


SEEN = "seen"
"""In the cache of a rank without lines: that the clip has begun."""


def share_wan_vae(vae: WanVAE, peers: Peers, finish: PerPixel = unchanged) -> SharedWanVAE:
    """Share the work of a Wan VAE among ranks; arguments as of `parallelize_vae`."""
    shared = share_weights(vae)
    shared.__class__ = SharedWanVAE
    assert isinstance(shared, SharedWanVAE)
    shared.peers, shared.finish = peers, finish
    for name, module in shared.named_modules():
        _share_layer(module, name, peers)
    return shared


def _share_layer(module: nn.Module, name: str, peers: Peers) -> None:
    if isinstance(module, Upsample):
        convolution = module.resample[1]
        convolution.__class__ = SharedConv2d
        assert isinstance(convolution, SharedConv2d)
        convolution.name = name
    elif isinstance(module, Downsample):
        module.__class__ = SharedDownsample
        assert isinstance(module, SharedDownsample)
        module.name = name
    elif isinstance(module, FrameAttention):
        module.__class__ = SharedAttention
        assert isinstance(module, SharedAttention)
        module.peers = peers
