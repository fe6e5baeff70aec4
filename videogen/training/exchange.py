"""Tensors that workers make for each other: parts put together, and what one of them has read."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed as dist
from safetensors.torch import load, save
from torch import Tensor

from videogen.training.world import World


def gathered(mine: Tensor, count: int, world: World, device: torch.device) -> Tensor:
    """All of `count` rows, on the CPU of every worker.

    Args:
        mine: this worker's part of them, which may be of no row.
        device: which the workers exchange tensors from.
    """
    if world.size == 1:
        return mine
    longest = -(-count // world.size)
    share = mine.new_zeros(longest, *mine.shape[1:], device=device)
    share[: len(mine)] = mine.to(device)
    shares = [torch.empty_like(share) for _ in range(world.size)]
    dist.all_gather(shares, share)
    parts = [World(rank, world.size).part(count) for rank in range(world.size)]
    return torch.cat(
        [part[: at.stop - at.start].cpu() for part, at in zip(shares, parts, strict=True)]
    )


def of_first(
    tensors: Mapping[str, Tensor], world: World, device: torch.device
) -> dict[str, Tensor]:
    """What the first worker has, on the CPU of all of them; what others have does not matter."""
    if world.size == 1:
        return dict(tensors)
    said = torch.frombuffer(bytearray(save(dict(tensors))), dtype=torch.uint8)
    count = int(_broadcast(torch.tensor([len(said)]), device))
    content = said if world.is_first else torch.empty(count, dtype=torch.uint8)
    return load(_broadcast(content, device).numpy().tobytes())


def _broadcast(tensor: Tensor, device: torch.device) -> Tensor:
    sent = tensor.to(device)
    dist.broadcast(sent, 0)
    return sent.cpu()
