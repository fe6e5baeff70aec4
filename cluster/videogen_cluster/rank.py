"""One rank: the Ray actor that holds the model and works on items, one computing at a time."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import ray

from videogen_cluster.failures import ErrorClass, Failure, describe
from videogen_cluster.handshake import Versions
from videogen_cluster.health import Activity, ActivityLog, Report
from videogen_cluster.rendezvous import Rendezvous, open_rendezvous, use_node_network
from videogen_cluster.turns import Turns
from videogen_cluster.workload import RankContext, Workload

WORK_GROUP = "work"
CONTROL_GROUP = "control"
_PR_SET_PDEATHSIG = 1
_CANCELLED = Failure(ErrorClass.CANCELLED, "not started: the run is being stopped")
_OUT_OF_STEP = Failure(ErrorClass.COLLECTIVE, "not started: this rank gave up the item before")


@dataclass(frozen=True, slots=True)
class RankReady:
    """What a rank tells of itself once it can work."""

    pid: int
    node_id: str
    versions: Versions


class Rank:
    """Runs a workload; started by a gang, never restarted by Ray.

    Items compute in one thread, in the order of their turns, so the device has one master, a
    torch thread pool is made once, and all ranks of a gang agree on what comes next; the rest of
    an item runs in the thread of its call while the next one computes.
    Exceptions become `Failure` records: only the death of the process is a death.
    """

    def __init__(self, workload: Workload, context: RankContext) -> None:
        _die_with_parent()
        # OpenMP's threads spin while they wait. A rank shares its cores with an encoder and with
        # Ray, and one thread that spins for another that has no core made steps 12 times slower.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        faulthandler.enable()
        self._workload = workload
        self._context = context
        self._log = ActivityLog()
        self._compute = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compute")
        self._turns = Turns()
        self._stopping = False
        self._out_of_step = False
        self._rendezvous: Rendezvous | None = None

    def open_rendezvous(self) -> str | Failure:
        """Open the place where the ranks of this gang meet; the address is for their `setup`."""
        return _caught(self._open_rendezvous)

    def setup(self, rendezvous: str | Failure | None = None) -> RankReady | Failure:
        """Load the model; answers when the rank can take items.

        Args:
            rendezvous: what `open_rendezvous` of one rank answered; None if it is the only one.
        """
        if isinstance(rendezvous, Failure):
            return rendezvous
        self._context = replace(self._context, rendezvous=rendezvous)
        return _caught(self._set_up)

    @ray.method(concurrency_group=WORK_GROUP)
    def run(self, item: Mapping[str, Any], turn: int) -> dict[str, Any] | Failure:
        """Do one item to its end and return its record, or why there is none.

        Args:
            item: what the workload gets.
            turn: the item's place in the order of this gang, counted from 0 without a gap.
        """
        item_id = str(item["id"])
        try:
            return _caught(lambda: self._finished(item_id, item, turn))
        finally:
            self._log.end(item_id)

    def beat(self) -> tuple[Activity, ...]:
        """What the rank is doing."""
        return self._log.snapshot()

    @ray.method(concurrency_group=CONTROL_GROUP)
    def report(self) -> Report:
        """What the rank does and how long its steps took; answered while items compute."""
        return Report(self.beat(), self._log.take_steps())

    @ray.method(concurrency_group=CONTROL_GROUP)
    def stop(self) -> None:
        """Start no further item; those that wait are handed back."""
        self._stopping = True
        self._turns.close()

    def _open_rendezvous(self) -> str:
        self._rendezvous = open_rendezvous()
        return self._rendezvous.address

    def _set_up(self) -> RankReady:
        if self._context.rendezvous is not None:
            use_node_network()
        self._compute.submit(self._workload.setup, self._context).result()
        node_id = ray.get_runtime_context().get_node_id()
        return RankReady(os.getpid(), node_id, Versions.here())

    def _finished(self, item_id: str, item: Mapping[str, Any], turn: int) -> Any:
        queued = self._turns.take(turn, lambda: self._queued(item_id, item))
        if queued is None:
            return _CANCELLED
        rest = queued.result()
        return rest if isinstance(rest, Failure) else rest()

    def _queued(self, item_id: str, item: Mapping[str, Any]) -> Future[Callable[[], Any] | Failure]:
        return self._compute.submit(self._computed, item_id, item)

    def _computed(self, item_id: str, item: Mapping[str, Any]) -> Callable[[], Any] | Failure:
        if self._stopping:
            return _CANCELLED
        if self._out_of_step:
            return _OUT_OF_STEP

        def heartbeat(stage: str, step: int, total: int) -> None:
            self._log.note(item_id, stage, step, total)

        heartbeat("start", 0, 1)
        try:
            return self._workload.compute(item, heartbeat)
        except BaseException as error:  # noqa: BLE001 - as in _caught
            # The others may be in a collective of this item; they must not meet this rank there
            # with the numbers of another one.
            self._out_of_step = self._context.world_size > 1
            return replace(describe(error), while_computing=True)


def _caught(work: Callable[[], Any]) -> Any:
    """Run `work`; an exception of any kind is the item's failure, not the rank's."""
    try:
        return work()
    except BaseException as error:  # noqa: BLE001 - also SystemExit: it must not end the actor
        return describe(error)


def _die_with_parent() -> None:
    """Have Linux kill this process when its parent dies, so that no orphan keeps a GPU."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
