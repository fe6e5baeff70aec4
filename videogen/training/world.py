"""Workers of one training run: who they are, and which part of a batch each of them takes."""

from __future__ import annotations

from dataclasses import dataclass

import torch.distributed as dist


@dataclass(frozen=True)
class World:
    """One worker among `size`; all draw the same batch and keep their own part of it."""

    rank: int = 0
    size: int = 1

    @classmethod
    def of_process_group(cls) -> World:
        """That of the default process group, or the only worker where there is none."""
        if not dist.is_initialized():
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def part(self, count: int) -> slice:
        """Which of `count` samples are this worker's; parts differ by one at most."""
        ends = [count * rank // self.size for rank in (self.rank, self.rank + 1)]
        return slice(*ends)
