"""Where gangs run: the resources of one rank, and one placement group per gang."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from videogen.errors import ConfigError


@dataclass(frozen=True, slots=True)
class RankResources:
    """What one rank reserves."""

    cpus: float
    gpus: float

    @property
    def num_threads(self) -> int:
        """Threads for computing: whole cores, at least one."""
        return max(1, math.floor(self.cpus))

    @property
    def device(self) -> str:
        return "cuda" if self.gpus else "cpu"


@dataclass(frozen=True, slots=True)
class Layout:
    """How many gangs of how many ranks, each rank with these resources."""

    num_gangs: int
    world_size: int
    rank: RankResources


def plan_layout(
    total_cpus: float,
    total_gpus: float,
    *,
    world_size: int = 1,
    num_gangs: int | None = None,
    cpus_per_rank: float | None = None,
    use_gpus: bool = True,
) -> Layout:
    """Divide a cluster into gangs.

    With GPUs every rank gets one, and there are as many gangs as fit; without, one gang gets all
    cores, because several copies of a model on one CPU share the same memory bandwidth.

    Args:
        total_cpus, total_gpus: what the cluster has.
        world_size: ranks of a gang.
        num_gangs: None for as many as fit.
        cpus_per_rank: None for an equal share.
        use_gpus: False leaves the GPUs alone.

    Raises:
        ConfigError: what is asked for can never be placed.
    """
    gpus = 1.0 if use_gpus and total_gpus >= 1 else 0.0
    if num_gangs is None:
        num_gangs = max(1, int(total_gpus) // world_size) if gpus else 1
    num_ranks = num_gangs * world_size
    if gpus and num_ranks > total_gpus:
        raise ConfigError(
            f"cluster.gangs: got {num_gangs} gangs of {world_size} ranks, expected at most "
            f"{int(total_gpus)} ranks, one for each GPU. Fix: lower cluster.gangs, or set "
            "model.device=cpu."
        )
    if cpus_per_rank is None:
        share = total_cpus / num_ranks
        cpus_per_rank = float(math.floor(share)) if share >= 1 else math.floor(share * 100) / 100
    if cpus_per_rank <= 0 or cpus_per_rank * num_ranks > total_cpus:
        raise ConfigError(
            f"cluster.cpus_per_rank: got {cpus_per_rank:g} for {num_ranks} ranks, expected "
            f"at most {total_cpus:g} CPUs in all. Fix: lower cluster.gangs or "
            "cluster.cpus_per_rank."
        )
    return Layout(num_gangs, world_size, RankResources(cpus_per_rank, gpus))


class Placement:
    """The resources of one gang, reserved all or not at all, until `remove`."""

    def __init__(self, resources: RankResources, world_size: int, name: str) -> None:
        bundle = {"CPU": resources.cpus}
        if resources.gpus:
            bundle["GPU"] = resources.gpus
        self._group = placement_group([bundle] * world_size, strategy="PACK", name=name)

    def strategy(self, rank: int) -> PlacementGroupSchedulingStrategy:
        """Puts an actor into this rank's share."""
        return PlacementGroupSchedulingStrategy(
            placement_group=self._group,
            placement_group_bundle_index=rank,
            placement_group_capture_child_tasks=False,
        )

    def remove(self) -> None:
        """Free the resources; everything that still runs in them dies."""
        remove_placement_group(self._group)
