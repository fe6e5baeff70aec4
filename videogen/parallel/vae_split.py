"""How the picture is shared out among ranks: whole latent rows or columns, as evenly as they go.

A latent row is the finest cut at which every layer of the VAE keeps whole lines on one rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from torch import Tensor

from videogen.parallel.shards import Sizes, divide

ROWS, COLUMNS = 3, 4
"""Dims of `b c t h w` that can be cut."""


@dataclass(frozen=True)
class Split:
    """Consecutive shares of the latent lines along a dim of `b c t h w`; the last may be empty."""

    dim: int
    sizes: Sizes

    @classmethod
    def of_latents(cls, h: int, w: int, degree: int) -> Split:
        """The cut of latents `h w` with the smallest largest share, then with shorter borders."""
        shares = {ROWS: -(-h // degree) / h, COLUMNS: -(-w // degree) / w}
        borders = {ROWS: w, COLUMNS: h}
        dim = min(shares, key=lambda dim: (shares[dim], borders[dim]))
        return cls(dim, divide(h if dim == ROWS else w, degree))

    @property
    def num_active(self) -> int:
        """Ranks that hold anything; with fewer lines than ranks the last ones hold nothing."""
        return sum(size > 0 for size in self.sizes)

    def is_active(self, rank: int) -> bool:
        return self.sizes[rank] > 0

    def take(self, x: Tensor, rank: int, scale: int = 1) -> Tensor:
        """The share of `rank` of a whole `b c t h w` that has `scale` lines per latent line."""
        start = [0, *accumulate(self.sizes)][rank]
        return x.narrow(self.dim, start * scale, self.sizes[rank] * scale)

    def neighbours(self, rank: int) -> tuple[int | None, int | None]:
        """The ranks that hold the lines before and after those of an active rank."""
        before = rank - 1 if rank > 0 else None
        after = rank + 1 if rank + 1 < self.num_active else None
        return before, after
