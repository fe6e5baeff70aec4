"""A module that is trained, wrapped for one worker or for several, and all that changes with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel

from videogen.errors import ConfigError
from videogen.training.config import ScheduleConfig
from videogen.training.finetune_state import Averages, trained
from videogen.training.optimizers import make_optimizers
from videogen.training.world import World

Strategy = Literal["ddp", "fsdp"]
Optimizers = list[torch.optim.Optimizer]


@dataclass(frozen=True)
class Learner:
    """What one loop needs of any stage.

    Attributes:
        module: what is trained; its parameters that require gradients are the checkpoint.
        forward: `module`, or what keeps it the same on all workers; losses are computed with it.
        rates: of each optimizer, before the schedule's factor.
        accumulate: parts that a worker's share of a batch is taken in, one after the other.
        origin: digest of the model that a run starts from, where it cannot go on with another.
    """

    module: nn.Module
    forward: nn.Module
    averages: Averages
    optimizers: Optimizers
    rates: tuple[float, ...]
    schedule: ScheduleConfig
    accumulate: int = 1
    origin: str = ""

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [parameter for _, parameter in trained(self.module)]

    @property
    def device(self) -> torch.device:
        return self.parameters[0].device

    @contextmanager
    def synchronised(self, now: bool) -> Iterator[None]:
        """Whether gradients are averaged over the workers in this backward pass."""
        if isinstance(self.forward, FSDPModule):
            self.forward.set_requires_gradient_sync(now)
            yield
        elif isinstance(self.forward, DistributedDataParallel) and not now:
            with self.forward.no_sync():
                yield
        else:
            yield


def transformer_learner(
    module: nn.Module,
    schedule: ScheduleConfig,
    world: World,
    *,
    accumulate: int = 1,
    muon_learning_rate: float = 0.0,
    strategy: Strategy = "ddp",
    blocks: Sequence[nn.Module] = (),
    origin: str = "",
) -> Learner:
    """Prepare a transformer for training, the same on every worker.

    Args:
        module: on its device.
        muon_learning_rate: of the matrices of its blocks; 0 leaves them to AdamW.
        blocks: parts that fsdp gathers one by one.

    Raises:
        ConfigError: there are more workers than clips in a batch.
    """
    forward = share(module, schedule, world, strategy, blocks)
    optimizers, rates = _transformer_optimizers(module, schedule, muon_learning_rate)
    return Learner(
        module=module,
        forward=forward,
        averages=Averages(module, schedule.ema_decay),
        optimizers=optimizers,
        rates=rates,
        schedule=schedule,
        accumulate=accumulate,
        origin=origin,
    )


def _transformer_optimizers(
    module: nn.Module, schedule: ScheduleConfig, muon_learning_rate: float
) -> tuple[Optimizers, tuple[float, ...]]:
    """Optimizers of all that is trained of a module, and their rates; AdamW alone without Muon."""
    rate = schedule.learning_rate
    if muon_learning_rate:
        optimizers = make_optimizers([module], schedule, muon_learning_rate)
        return optimizers, (muon_learning_rate, rate)
    parameters = [parameter for _, parameter in trained(module)]
    return [torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)], (rate,)


def check_muon(muon_learning_rate: float, strategy: Strategy, lora_rank: int = 0) -> None:
    """Raise `ConfigError` where Muon would not see whole matrices of the model."""
    if muon_learning_rate and (strategy == "fsdp" or lora_rank):
        raise ConfigError(
            f"muon_learning_rate: got {muon_learning_rate:g} with "
            f"{'lora_rank' if lora_rank else 'strategy fsdp'}, expected 0, because Muon "
            "needs whole matrices of the model. Fix: set it to 0."
        )


def share(
    module: nn.Module,
    schedule: ScheduleConfig,
    world: World,
    strategy: Strategy = "ddp",
    blocks: Sequence[nn.Module] = (),
) -> nn.Module:
    """What to call instead of `module`, which is on its device, so that all workers train it alike.

    Optimizers and averages are made afterwards: fsdp replaces the parameters.

    Args:
        blocks: parts that fsdp gathers one by one.

    Raises:
        ConfigError: there are more workers than clips in a batch.
    """
    if schedule.batch_size < world.size:
        raise ConfigError(
            f"schedule.batch_size: got {schedule.batch_size} for {world.size} workers, "
            f"expected at least one clip each. Fix: use {world.size} or more."
        )
    if world.size == 1:
        return module
    device = torch.device(schedule.device)
    if strategy == "ddp":
        return DistributedDataParallel(
            module, device_ids=[device] if device.type == "cuda" else None
        )
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh)
    return module
