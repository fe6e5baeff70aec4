"""How a dim is cut among ranks: consecutive shares that differ by at most one.

Nothing is padded to make shares equal. So there is nothing to mask, no work and no bytes are spent
on padding, and sizes that no degree divides are as exact as those that one does.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

Sizes = tuple[int, ...]


def divide(total: int, parts: int) -> Sizes:
    """Sizes of `parts` shares of `total`; the larger come first, the last may be 0."""
    size, larger = divmod(total, parts)
    return tuple(size + (part < larger) for part in range(parts))


@dataclass(frozen=True)
class Shard:
    """One rank's share of a dim."""

    sizes: Sizes
    rank: int

    @classmethod
    def of(cls, total: int, parts: int, rank: int) -> Shard:
        return cls(divide(total, parts), rank)

    @property
    def size(self) -> int:
        return self.sizes[self.rank]

    @property
    def start(self) -> int:
        return sum(self.sizes[: self.rank])

    def take(self, x: Tensor, dim: int) -> Tensor:
        """This share of a tensor that is whole along `dim`, as a view."""
        return x.narrow(dim, self.start, self.size)
