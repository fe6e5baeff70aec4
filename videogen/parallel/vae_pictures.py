"""Image VAEs on many ranks: whole pictures, or the few that are decoded together, go in turn.

Their norms look at a whole picture, so pictures cannot be cut: time falls with the ranks, and the
memory of a rank does not.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator

import torch
from torch import Tensor

from videogen.models.causal_conv import StreamCache
from videogen.models.image_vae.vae import ImageVAE
from videogen.models.vae import to_bytes
from videogen.parallel.vae_exchange import GATHER, Peers


class SpreadPictures:
    """A VAE that all ranks call together, with the same arguments; all encode."""

    def __init__(self, vae: ImageVAE, peers: Peers) -> None:
        self._vae = vae
        self._peers = peers

    def encode(self, frames: Tensor) -> Tensor:
        """Latents, whole on every rank, of frames that are whole on every rank."""
        return self._vae.encode(frames)

    def decode_stream(
        self, chunks: Iterable[Tensor], cache: StreamCache | None = None
    ) -> Generator[Tensor, None, None]:
        """Frames of consecutive chunks of latents, as bytes.

        A reader that stops early does not leave the other ranks waiting: the rest is decoded and
        dropped.

        Args:
            cache: not used, because nothing is carried.

        Yields:
            On rank 0, what the VAE yields. On other ranks, as often, `b 3 0 8h 8w`: none.
        """
        rounds = self._rounds(chunks)
        try:
            for together in rounds:
                yield from together
        except GeneratorExit:
            for _ in rounds:
                pass
            raise

    def _rounds(self, chunks: Iterable[Tensor]) -> Iterator[list[Tensor]]:
        for chunk in chunks:
            pieces = chunk.split(self._vae.frames_together, dim=2)
            for first in range(0, len(pieces), self._peers.size):
                yield self._decode(pieces[first : first + self._peers.size])

    @torch.no_grad()
    def _decode(self, pieces: tuple[Tensor, ...]) -> list[Tensor]:
        """One piece a rank, and what comes of them on rank 0."""
        rank = self._peers.rank
        parts = [self._room(piece, int(rank == 0) * piece.shape[2]) for piece in pieces]
        if rank < len(pieces):
            mine = to_bytes(torch.cat(list(self._vae.decode_stream([pieces[rank]])), dim=2))
            if rank == 0:
                parts[0] = mine
            else:
                self._peers.exchange([(mine.contiguous(), 0)], [], GATHER)
        if rank == 0 and len(pieces) > 1:
            others = [(parts[other], other) for other in range(1, len(pieces))]
            self._peers.exchange([], others, GATHER)
        return parts

    def _room(self, piece: Tensor, num_frames: int) -> Tensor:
        b, _, _, h, w = piece.shape
        side = self._vae.config.space_factor
        size = (b, 3, num_frames, side * h, side * w)
        return torch.empty(size, dtype=torch.uint8, device=piece.device)
