"""The VAE on many ranks: each decodes and encodes some latent rows or columns of every frame.

Convolutions exchange their borders, so the result is that of one rank, and the memory of a rank
falls with their number. Frames come together on rank 0, a few at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence

import torch
from torch import Tensor

from videogen.errors import ConfigError
from videogen.models.causal_conv import StreamCache
from videogen.models.vae import Encoder, VideoVAE
from videogen.parallel.vae_convolution import set_halo, share_weights
from videogen.parallel.vae_exchange import (
    ExchangeConv3d,
    NeighbourHalo,
    Peers,
    all_gather,
    gather,
)
from videogen.parallel.vae_split import ROWS, Split

PerPixel = Callable[[Tensor], Tensor]


def unchanged(frames: Tensor) -> Tensor:
    """Frames as they are."""
    return frames


class ShardedVAE(VideoVAE):
    """A VAE that all ranks call together, with the same arguments; see `parallelize_vae`."""

    peers: Peers
    finish: PerPixel

    def decode_stream(
        self, chunks: Iterable[Tensor], cache: StreamCache | None = None
    ) -> Generator[Tensor, None, None]:
        """Frames of consecutive chunks of latents, one latent frame at a time.

        A reader that stops early does not leave the other ranks waiting: the rest is decoded and
        dropped.

        Args:
            chunks: consecutive latents `b c t h w` of one clip, whole on every rank.
            cache: this rank's past; pass one's own to continue a stream later.

        Yields:
            On rank 0, what `VideoVAE.decode_stream` yields, after `finish`. On other ranks, as
            often, frames `b 3 0 8h 8w`: none.
        """
        cache = {} if cache is None else cache
        steps = (frame for chunk in chunks for frame in chunk.split(1, dim=2))
        try:
            for latent in steps:
                yield self._decode_step(latent, cache)
        except GeneratorExit:
            for latent in steps:
                self._decode_step(latent, cache)
            raise

    def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, whole on every rank, of frames that are whole on every rank."""
        mean, log_variance = self._moments(frames).chunk(2, dim=1)
        return mean, log_variance.clamp(-20.0, 10.0)

    def decode_at_once(self, latents: Tensor) -> Tensor:
        """Not on many ranks.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            "decode_at_once: got a VAE on many ranks, expected one for training. Fix: use decode."
        )

    @torch.no_grad()
    def _decode_step(self, latent: Tensor, cache: StreamCache) -> Tensor:
        split, side = self._take_part(latent.shape[-2:]), self.config.space_factor
        b, _, _, h, w = latent.shape
        nothing = self.finish(latent.new_empty(b, 3, 0, side * h, side * w))
        if not split.is_active(self.peers.rank):
            return nothing
        part = self.finish(self.decoder(split.take(latent, self.peers.rank), cache))
        whole = gather(self.peers, split, part, side)
        return nothing if whole is None else whole

    @torch.no_grad()
    def _moments(self, frames: Tensor) -> Tensor:
        side = self.config.space_factor
        b, _, t, h, w = frames.shape
        split = self._take_part((h // side, w // side))
        if split.is_active(self.peers.rank):
            mine = split.take(frames, self.peers.rank, side)
            part = _encode_streaming(self.encoder, mine, self.config.time_factor)
        else:
            shape = [b, 2 * self.config.latent_channels, self.config.latent_frames(t)]
            part = frames.new_empty([*shape, *_without_lines(h // side, w // side, split.dim)])
        return all_gather(self.peers, split, part, scale=1)

    def _take_part(self, size: Sequence[int]) -> Split:
        """Share out pictures of latent size `h w`, and have the convolutions follow."""
        split = Split.of_latents(size[0], size[1], self.peers.size)
        if split.is_active(self.peers.rank):
            set_halo(self, NeighbourHalo(self.peers, split), ExchangeConv3d)
        return split


def parallelize_vae(vae: VideoVAE, peers: Peers, finish: PerPixel = unchanged) -> ShardedVAE:
    """Share the work of a VAE among ranks; `vae` itself stays as it is, weights are shared.

    Args:
        peers: all ranks that call the VAE together; also those that find nothing to do.
        finish: done to decoded frames before they are gathered, pixel by pixel: converting them to
            bytes on each rank makes the gathering four times smaller.
    """
    sharded = share_weights(vae)
    sharded.__class__ = ShardedVAE
    assert isinstance(sharded, ShardedVAE)
    sharded.peers, sharded.finish = peers, finish
    return sharded


def _encode_streaming(encoder: Encoder, frames: Tensor, time_factor: int) -> Tensor:
    """Moments of frames `b 3 4n+1 h w`, the working memory being that of four frames."""
    cache: StreamCache = {}
    first, rest = frames[:, :, :1], frames[:, :, 1:]
    chunks = [first, *(rest.split(time_factor, dim=2) if rest.shape[2] else ())]
    return torch.cat([encoder(chunk, cache) for chunk in chunks], dim=2)


def _without_lines(h: int, w: int, dim: int) -> tuple[int, int]:
    return (0, w) if dim == ROWS else (h, 0)
