"""Weights too large for one GPU: each rank keeps a share, and a block is whole while it is used.

PyTorch's FSDP2 (Zhao et al. 2304.11277) does the work: it gathers the next block while one computes
and drops it afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor

from videogen.errors import ConfigError
from videogen.models.block_lists import blocks_of
from videogen.models.dit import SpacetimeDiT
from videogen.parallel.mesh import Mesh


def shard_weights(
    model: SpacetimeDiT, mesh: Mesh, *, device: str = "cuda", offload: bool = False
) -> SpacetimeDiT:
    """Divide the weights of a DiT among all ranks of a mesh.

    Bring the model in on the CPU: every block then visits the GPU only to be divided.

    Args:
        model: altered in place; the same weights on every rank.
        device: type of the device that computes, "cuda" or "cpu".
        offload: keep this rank's share in the memory of the CPU as well, copying it for each use.

    Raises:
        ConfigError: this process has not joined a gang, not even one of a single rank.
    """
    if not dist.is_initialized():
        raise ConfigError(
            "shard_weights: got a process outside a gang, expected a rank. Fix: call join() first; "
            "a gang of one rank can offload."
        )
    among = DeviceMesh.from_group(mesh.gang.group or dist.group.WORLD, device)  # pyright: ignore[reportArgumentType]
    policy = CPUOffloadPolicy(pin_memory=device == "cuda") if offload else OffloadPolicy()
    for part in (*blocks_of(model), model):
        own = [name for name, p in part.named_parameters() if not isinstance(p, DTensor)]
        fully_shard(part, mesh=among, reshard_after_forward=True, offload_policy=policy)
        _count_gathers(part, own, mesh)
    return model


def local_weight_bytes(module: nn.Module) -> int:
    """Memory of this rank's share of the weights while none is in use."""
    return sum(_local(parameter).nbytes for parameter in module.parameters())


def _local(parameter: Tensor) -> Tensor:
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter


def _count_gathers(module: nn.Module, own: Sequence[str], mesh: Mesh) -> None:
    """Count what FSDP sends by its size: it does not talk through our communicators."""
    share = sum(_local(module.get_parameter(name)).nbytes for name in own)
    sent = share * (mesh.gang.size - 1)

    def count(_module: nn.Module, _args: tuple[Any, ...]) -> None:
        mesh.counters.add("gang", "weights", sent)

    if mesh.gang.size > 1:
        module.register_forward_pre_hook(count)
