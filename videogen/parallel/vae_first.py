"""A VAE that one rank of a gang decodes with, for kinds whose pictures cannot be cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor

from videogen.models.causal_conv import StreamCache
from videogen.models.protocol import StreamingVAE
from videogen.models.vae import to_bytes


class FirstRankVAE:
    """Decodes on rank 0; all ranks call it with the same arguments, and all encode."""

    def __init__(self, vae: StreamingVAE, rank: int, space_factor: int) -> None:
        self._vae = vae
        self._rank = rank
        self._side = space_factor

    def encode(self, frames: Tensor) -> Tensor:
        """Latents, whole on every rank, of frames that are whole on every rank."""
        return self._vae.encode(frames)

    def decode_stream(
        self, chunks: Iterable[Tensor], cache: StreamCache | None = None
    ) -> Iterator[Tensor]:
        """Frames of consecutive chunks of latents, as bytes.

        Yields:
            On rank 0, what the VAE yields. On other ranks frames `b 3 0 8h 8w`, once a chunk: none.
        """
        if self._rank == 0:
            yield from map(to_bytes, self._vae.decode_stream(chunks, cache))
            return
        for chunk in chunks:
            b, _, _, h, w = chunk.shape
            yield to_bytes(chunk.new_empty(b, 3, 0, self._side * h, self._side * w))

    def decode_everywhere(
        self, chunks: Iterable[Tensor], cache: StreamCache | None = None
    ) -> Iterator[Tensor]:
        """Frames of consecutive chunks of latents, whole on every rank."""
        return self._vae.decode_stream(chunks, cache)
