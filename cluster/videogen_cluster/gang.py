"""A gang: ranks that live and die together in one placement group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from videogen_cluster.placement import Placement, RankResources
from videogen_cluster.rank import CONTROL_GROUP, WORK_GROUP, Rank
from videogen_cluster.scheduler import Lease
from videogen_cluster.workload import RankContext, Workload


@dataclass(frozen=True, slots=True)
class GangShape:
    """What every gang of a run looks like."""

    world_size: int
    rank: RankResources
    max_in_flight: int


class Gang:
    """One incarnation of a gang. Nothing here waits: calls return references.

    Ray may neither restart a rank nor repeat a call: a restarted rank would sit in the gang
    without its peers, and a repeated item is the scheduler's decision.
    """

    def __init__(self, index: int, workload: Workload, shape: GangShape, name: str) -> None:
        self.index = index
        self._placement = Placement(shape.rank, shape.world_size, name)
        try:
            self._ranks = [self._start(workload, shape, rank) for rank in range(shape.world_size)]
        except BaseException:
            self._placement.remove()
            raise

    def setup(self) -> list[ray.ObjectRef]:
        """Load the model on every rank; each answers `RankReady` or a `Failure`."""
        return [rank.setup.remote() for rank in self._ranks]

    def run(self, lease: Lease) -> list[ray.ObjectRef]:
        """Start an item on every rank; rank 0 answers its record."""
        item = item_of(lease)
        return [rank.run.remote(item) for rank in self._ranks]

    def beat(self) -> list[ray.ObjectRef]:
        """Ask every rank what it is doing."""
        return [rank.beat.remote() for rank in self._ranks]

    def stop(self) -> None:
        """Tell every rank to start nothing more."""
        for rank in self._ranks:
            rank.stop.remote()

    def kill(self) -> None:
        """End every rank at once and free the resources."""
        try:
            for rank in self._ranks:
                ray.kill(rank, no_restart=True)
        finally:
            self._placement.remove()

    def _start(self, workload: Workload, shape: GangShape, rank: int) -> Any:
        context = RankContext(
            gang=self.index,
            rank=rank,
            world_size=shape.world_size,
            device=shape.rank.device,
            num_threads=shape.rank.num_threads,
        )
        options: dict[str, Any] = {
            "num_cpus": shape.rank.cpus,
            "num_gpus": shape.rank.gpus,
            "max_restarts": 0,
            "max_task_retries": 0,
            "concurrency_groups": {WORK_GROUP: shape.max_in_flight, CONTROL_GROUP: 1},
            "scheduling_strategy": self._placement.strategy(rank),
        }
        return ray.remote(**options)(Rank).remote(workload, context)


def item_of(lease: Lease) -> Mapping[str, Any]:
    """What a workload gets to see of a lease."""
    return {
        **lease.payload,
        "id": lease.item_id,
        "attempt": lease.attempt,
        "degrade": lease.degrade,
    }


def slowest(answers: Sequence[Any]) -> Any:
    """Of the ranks' answers to `beat`, the one that has been silent longest."""
    return max(answers, key=lambda beat: max((a.silent_s for a in beat), default=0.0))
