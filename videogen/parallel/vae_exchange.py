"""What ranks of a sharded VAE tell each other: borders, and their parts of the picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from videogen.models.causal_conv import StreamCache
from videogen.parallel.communicator import Message
from videogen.parallel.vae_convolution import HaloConv3d
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

    def start_exchange(
        self, sends: Sequence[Message], receives: Sequence[Message], operation: str
    ) -> Callable[[], None]:
        """Start an `exchange`; what is returned waits for its end."""
        ...


Borders = tuple[Tensor | None, Tensor | None]
"""The lines before and after a part; None at the border of the picture."""


class NeighbourHalo:
    """Borders come from the ranks that hold the lines before and after."""

    def __init__(self, peers: Peers, split: Split) -> None:
        self.dim = split.dim
        self._peers = peers
        self._neighbours = split.neighbours(peers.rank)

    def extend(self, x: Tensor, reach: int, layer: str) -> Tensor:
        """Exchange borders with both neighbours; beyond the picture there are zeros."""
        borders = self.start(x, reach)()
        beyond = x.new_zeros(()).expand(x.narrow(self.dim, 0, reach).shape)
        before, after = (beyond if border is None else border for border in borders)
        return torch.cat([before, x, after], dim=self.dim)

    def start(self, x: Tensor, reach: int) -> Callable[[], Borders]:
        """Start exchanging borders; what is returned waits for the neighbours' lines."""
        size = x.shape[self.dim]
        assert size >= reach
        sends, receives = [], []
        borders: list[Tensor | None] = []
        for rank, start in zip(self._neighbours, (0, size - reach), strict=True):
            if rank is None:
                borders.append(None)
                continue
            mine = x.narrow(self.dim, start, reach).contiguous()
            borders.append(torch.empty_like(mine))
            sends.append((mine, rank))
            receives.append((borders[-1], rank))
        wait = self._peers.start_exchange(sends, receives, HALO)

        def finish() -> Borders:
            wait()
            return borders[0], borders[1]

        return finish


class ExchangeConv3d(HaloConv3d):
    """Spatial convolution of a rank's part, while its borders travel.

    What comes of the neighbours' lines is added to the outermost lines of the result, so that no
    second copy of the part is needed to put them beside it.
    """

    halo: NeighbourHalo  # pyright: ignore[reportIncompatibleVariableOverride]

    def forward(self, x: Tensor, cache: StreamCache | None = None) -> Tensor:
        """Convolve this part's frames `b c t h w`."""
        taps, *sides = self.weight.shape[2:]
        cut, side = self.halo.dim, self.weight.shape[self.halo.dim]
        if taps > 1 or side != 3:
            return super().forward(x, cache)
        finish = self.halo.start(x, 1)
        padding = [0, *(side // 2 for side in sides)]
        out = F.conv3d(x, self.weight, self.bias, 1, padding)
        padding[cut - 2] = 0
        for line, tap, place in zip(finish(), (0, 2), (0, out.shape[cut] - 1), strict=True):
            if line is not None:
                weight = self.weight.narrow(cut, tap, 1)
                out.narrow(cut, place, 1).add_(F.conv3d(line, weight, None, 1, padding))
        return out


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
