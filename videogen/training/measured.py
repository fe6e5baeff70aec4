"""What a training step measured, summed over the parts of its batch and over all workers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor

LogValue = float | list[float | None]
LOSS = "loss"


class Measured:
    """Values of one step by name: single sums, and tensors `2 n` of sums over counts."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.gradient_norm = 0.0

    def add(self, values: Mapping[str, Tensor], weight: float = 1.0) -> None:
        """Add what a part of the batch has to each value."""
        for name, value in values.items():
            share = weight * value.detach().double()
            self.sums[name] = self.sums[name] + share if name in self.sums else share

    def reduce(self) -> None:
        """Sum over all workers, which have measured the same names."""
        flat = torch.cat([value.flatten() for value in self.sums.values()])
        dist.all_reduce(flat)
        parts = flat.split([value.numel() for value in self.sums.values()])
        for (name, value), part in zip(list(self.sums.items()), parts, strict=True):
            self.sums[name] = part.view(value.shape)

    @property
    def loss(self) -> float:
        return float(self.sums[LOSS])

    def row(self) -> dict[str, LogValue]:
        """For the log: numbers, and lists of means with None where nothing was counted."""
        values = {name: _plain(value) for name, value in self.sums.items()}
        return {LOSS: values.pop(LOSS), "gradient_norm": self.gradient_norm, **values}


def _plain(value: Tensor) -> LogValue:
    if value.ndim == 0:
        return float(value)
    return [round(float(s / n), 6) if n else None for s, n in value.cpu().T]
