"""What ranks of a sharded VAE tell each other: borders, and their parts of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from videogen.parallel.communicator import Message
from videogen.parallel.vae_split import Split

HALO, GATHER = "halo", "gather"
"""What the traffic is counted as."""


class Peers(Protocol):
    """The ranks that share one VAE, as seen by one of them."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def exchange(
        self, sends: Sequence[Message], receives: Sequence[Message], operation: str = ...
    ) -> None:
        """Send and receive all at once, contiguous tensors, received into those given."""
        ...


class NeighbourHalo:
    """Borders come from the ranks that hold the lines before and after."""

    def __init__(self, peers: Peers, split: Split) -> None:
        self.dim = split.dim
        self._peers = peers
        self._before, self._after = split.neighbours(peers.rank)

    def extend(self, x: Tensor, reach: int, layer: str) -> Tensor:
        """Exchange borders with both neighbours; beyond the picture there are zeros."""
        assert x.shape[self.dim] >= reach
        first = x.narrow(self.dim, 0, reach)
        last = x.narrow(self.dim, x.shape[self.dim] - reach, reach)
        before = torch.zeros_like(first, memory_format=torch.contiguous_format)
        after = torch.zeros_like(before)
        sends, receives = [], []
        if self._before is not None:
            sends.append((first.contiguous(), self._before))
            receives.append((before, self._before))
        if self._after is not None:
            sends.append((last.contiguous(), self._after))
            receives.append((after, self._after))
        self._peers.exchange(sends, receives, HALO)
        return torch.cat([before, x, after], dim=self.dim)


def gather(peers: Peers, split: Split, part: Tensor, scale: int, root: int = 0) -> Tensor | None:
    """Put the parts of all ranks together on rank `root`.

    Args:
        part: this rank's lines, `scale` per latent line; of all other sizes and dtype like those
            of the others, also where it holds no lines.

    Returns:
        The whole on rank `root`, None elsewhere.
    """
    if peers.rank != root:
        if split.is_active(peers.rank):
            peers.exchange([(part.contiguous(), root)], [], GATHER)
        return None
    parts = _places(peers, split, part, scale)
    others = [(other, rank) for rank, other in enumerate(parts) if rank != root and other.numel()]
    if others:
        peers.exchange([], others, GATHER)
    return torch.cat(parts, dim=split.dim)


def all_gather(peers: Peers, split: Split, part: Tensor, scale: int) -> Tensor:
    """Put the parts of all ranks together on every rank; see `gather`."""
    parts = _places(peers, split, part, scale)
    others = [rank for rank in range(peers.size) if rank != peers.rank]
    mine = part.contiguous()
    peers.exchange(
        [(mine, rank) for rank in others if mine.numel()],
        [(parts[rank], rank) for rank in others if parts[rank].numel()],
        GATHER,
    )
    return torch.cat(parts, dim=split.dim)


def _places(peers: Peers, split: Split, part: Tensor, scale: int) -> list[Tensor]:
    """Room for the part of every rank, with this rank's own in its place."""
    places = []
    for rank, lines in enumerate(split.sizes):
        shape = list(part.shape)
        shape[split.dim] = lines * scale
        places.append(part if rank == peers.rank else part.new_empty(shape))
    return places
