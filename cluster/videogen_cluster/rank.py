"""One rank: the Ray actor that holds the model and works on items, one computing at a time."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import ray

from videogen_cluster.failures import ErrorClass, Failure, describe
from videogen_cluster.health import Activity, ActivityLog
from videogen_cluster.workload import RankContext, Workload

WORK_GROUP = "work"
CONTROL_GROUP = "control"
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class RankReady:
    """What a rank tells of itself once it can work."""

    pid: int
    node_id: str


class Rank:
    """Runs a workload; started by a gang, never restarted by Ray.

    Items wait for one compute thread, so the device has one master and a torch thread pool is
    made once; the rest of an item runs in the thread of its call while the next one computes.
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
        self._stopping = False

    def setup(self) -> RankReady | Failure:
        """Load the model; answers when the rank can take items."""
        return _caught(self._set_up)

    @ray.method(concurrency_group=WORK_GROUP)
    def run(self, item: Mapping[str, Any]) -> dict[str, Any] | Failure:
        """Do one item to its end and return its record, or why there is none."""
        item_id = str(item["id"])
        try:
            return _caught(lambda: self._finished(item_id, item))
        finally:
            self._log.end(item_id)

    @ray.method(concurrency_group=CONTROL_GROUP)
    def beat(self) -> tuple[Activity, ...]:
        """What the rank is doing; answered while items compute."""
        return self._log.snapshot()

    @ray.method(concurrency_group=CONTROL_GROUP)
    def stop(self) -> None:
        """Start no further item; those that wait are handed back."""
        self._stopping = True

    def _set_up(self) -> RankReady:
        self._compute.submit(self._workload.setup, self._context).result()
        return RankReady(os.getpid(), ray.get_runtime_context().get_node_id())

    def _finished(self, item_id: str, item: Mapping[str, Any]) -> Any:
        finish = self._compute.submit(self._computed, item_id, item).result()
        return finish()

    def _computed(self, item_id: str, item: Mapping[str, Any]) -> Callable[[], Any]:
        if self._stopping:
            cancelled = Failure(ErrorClass.CANCELLED, "not started: the run is being stopped")
            return lambda: cancelled

        def heartbeat(stage: str, step: int, total: int) -> None:
            self._log.note(item_id, stage, step, total)

        heartbeat("start", 0, 1)
        return self._workload.compute(item, heartbeat)


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
