"""A gang: ranks that live and die together in one placement group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ray

from videogen_cluster.health import Report
from videogen_cluster.lease import Lease
from videogen_cluster.placement import GangShape
from videogen_cluster.rank import CONTROL_GROUP, WORK_GROUP, Rank
from videogen_cluster.reservation import Reservation
from videogen_cluster.workload import RankContext, Workload


class Gang:
    """One incarnation of a gang. Nothing here waits: calls return references.

    Ray may neither restart a rank nor repeat a call: a restarted rank would sit in the gang
    without its peers, and a repeated item is the scheduler's decision.
    """

    def __init__(
        self, index: int, workload: Workload, shape: GangShape, max_in_flight: int, name: str
    ) -> None:
        self.index = index
        self.shape = shape
        self._turn = 0
        self._reservation = Reservation(shape, name)
        # Ray may start calls in another order than they were made; a late one finds a thread.
        threads = 2 * max_in_flight
        try:
            self._ranks = [self._start(workload, rank, threads) for rank in range(shape.world_size)]
        except BaseException:
            self._reservation.remove()
            raise

    def nodes(self) -> tuple[str, ...]:
        """The ids of the machines that hold its ranks; none while it waits for room."""
        return self._reservation.nodes()

    def setup(self) -> list[ray.ObjectRef]:
        """Load the model on every rank; each answers `RankReady` or a `Failure`.

        The ranks of several hear from Ray where the first one waits for them, as soon as it does.
        """
        address = self._ranks[0].open_rendezvous.remote() if len(self._ranks) > 1 else None
        return [rank.setup.remote(address) for rank in self._ranks]

    def run(self, lease: Lease) -> list[ray.ObjectRef]:
        """Start an item on every rank; rank 0 answers its record."""
        item, turn = item_of(lease), self._turn
        self._turn += 1
        return [rank.run.remote(item, turn) for rank in self._ranks]

    def report(self) -> list[ray.ObjectRef]:
        """Ask every rank what it is doing."""
        return [rank.report.remote() for rank in self._ranks]

    def stop(self) -> None:
        """Tell the rank to start nothing more.

        Ranks of several would hear it at different moments, and one would wait in a collective
        for an item that another has handed back: they finish what they were given.
        """
        if len(self._ranks) == 1:
            self._ranks[0].stop.remote()

    def kill(self) -> None:
        """End every rank at once and free the resources."""
        try:
            for rank in self._ranks:
                ray.kill(rank, no_restart=True)
        finally:
            self._reservation.remove()

    def _start(self, workload: Workload, rank: int, threads: int) -> Any:
        resources = self.shape.rank
        context = RankContext(
            gang=self.index,
            rank=rank,
            world_size=self.shape.world_size,
            device=resources.device,
            num_threads=resources.num_threads,
        )
        options: dict[str, Any] = {
            "num_cpus": resources.cpus,
            "num_gpus": resources.gpus,
            "max_restarts": 0,
            "max_task_retries": 0,
            "concurrency_groups": {WORK_GROUP: threads, CONTROL_GROUP: 1},
            "scheduling_strategy": self._reservation.strategy(rank),
        }
        return ray.remote(**options)(Rank).remote(workload, context)


def item_of(lease: Lease) -> Mapping[str, Any]:
    """What a workload gets to see of a lease."""
    return {
        **lease.payload,
        "id": lease.item_id,
        "attempt": lease.attempt,
        "degrade": lease.degrade,
        "repeat": lease.repeat,
    }


def slowest(reports: Sequence[Report]) -> Report:
    """Of the ranks' reports, the one that has been silent longest."""
    return max(reports, key=lambda report: max((a.silent_s for a in report.activities), default=0))
