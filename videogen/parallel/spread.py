"""Windows of a long clip on many ranks: each computes some of them, and all get all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from videogen.parallel.communicator import Communicator


class SpreadTasks:
    """Computes tensors of one shape, rank r those with index r, r + size, …

    Every rank calls it with the same tasks.
    """

    def __init__(self, seq: Communicator) -> None:
        self._seq = seq

    def __call__(self, tasks: Sequence[Callable[[], Tensor]]) -> list[Tensor]:
        rank, size = self._seq.rank, self._seq.size
        by_rank = [range(other, len(tasks), size) for other in range(size)]
        # A rank without a task computes one for its shape, and keeps it to itself.
        parts = [tasks[index]() for index in by_rank[rank] or (0,)]
        mine = torch.stack(parts)[: len(by_rank[rank])]
        together = self._seq.all_gather(mine, (0, tuple(map(len, by_rank))), "windows")
        order = [index for indices in by_rank for index in indices]
        placed = dict(zip(order, together.unbind(), strict=True))
        return [placed[index] for index in range(len(tasks))]
