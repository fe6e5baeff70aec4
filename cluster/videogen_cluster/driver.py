"""The loop that joins scheduler, gangs and listener; between events it sleeps."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from videogen_cluster.failures import Failure
from videogen_cluster.gang import GangShape
from videogen_cluster.listener import Listener, Snapshot
from videogen_cluster.placement import Layout
from videogen_cluster.scheduler import (
    Completed,
    DeadLettered,
    Decision,
    GangRetired,
    Limits,
    Requeued,
    Scheduler,
)
from videogen_cluster.session import Cluster, ClusterError
from videogen_cluster.supervisor import Event, Lost, Ready, Supervisor
from videogen_cluster.workload import Workload

Items = Iterable[tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How a run behaves.

    Attributes:
        limits: budgets of items and gangs.
        hang_timeout_s: silence after which a gang is killed.
        setup_timeout_s: the same while it starts and loads its model.
        poll_s: how often gangs are asked what they are doing.
        grace_s: how long work in flight may go on once the run is stopped.
    """

    limits: Limits = field(default_factory=Limits)
    hang_timeout_s: float = 600.0
    setup_timeout_s: float = 900.0
    poll_s: float = 1.0
    grace_s: float = 5.0


@dataclass(frozen=True, slots=True)
class EngineReport:
    """How a run went; `interrupted` when it was stopped with items left."""

    completed: int
    dead_lettered: int
    requeued: int
    gangs_lost: int
    interrupted: bool
    elapsed_s: float


class Driver:
    """Runs items through a workload on the gangs of a layout, inside a `ray_session`."""

    def __init__(
        self,
        workload: Workload,
        layout: Layout,
        cluster: Cluster,
        options: EngineOptions,
        listener: Listener,
    ) -> None:
        limits = _limits_of(options.limits, layout.world_size)
        shape = GangShape(layout.world_size, layout.rank, limits.max_in_flight)
        self._supervisor = Supervisor(workload, shape, cluster)
        self._scheduler = Scheduler(limits, layout.num_gangs)
        self._num_gangs = layout.num_gangs
        self._options = options
        self._listener = listener
        self._counts: Counter[str] = Counter()
        self._last_failure: Failure | None = None
        self._next_poll = 0.0
        self._stop_asked = False
        self._deadline: float | None = None

    def stop(self) -> None:
        """Start no further item and end within the grace period. Safe in a signal handler."""
        self._stop_asked = True

    def run(self, items: Items) -> EngineReport:
        """Work until every item has ended or the run is stopped.

        Args:
            items: (id, payload) pairs, read as they are needed; ids are unique.

        Raises:
            ClusterError: every gang failed too often in a row.
        """
        started = time.monotonic()
        source = iter(items)
        try:
            self._feed(source)
            while not self._is_over():
                self._build()
                self._dispatch()
                self._poll()
                self._hear(self._supervisor.wait(self._patience_s()))
                self._hear(self._silent())
                self._feed(source)
        finally:
            self._supervisor.close()
        return EngineReport(
            completed=self._counts["completed"],
            dead_lettered=self._counts["dead_lettered"],
            requeued=self._counts["requeued"],
            gangs_lost=self._counts["gangs_lost"],
            interrupted=not self._scheduler.all_ended,
            elapsed_s=time.monotonic() - started,
        )

    def _is_over(self) -> bool:
        asked = self._stop_asked or self._listener.wants_stop()
        if asked and not self._scheduler.draining:
            self._scheduler.drain()
            self._supervisor.stop_all()
            self._deadline = time.monotonic() + self._options.grace_s
        overdue = self._deadline is not None and time.monotonic() > self._deadline
        return overdue or self._scheduler.finished

    def _feed(self, source: Iterator[tuple[str, Mapping[str, Any]]]) -> None:
        for _ in range(self._scheduler.room()):
            item = next(source, None)
            if item is None:
                self._scheduler.close()
                return
            self._scheduler.offer(*item)

    def _build(self) -> None:
        usable = self._scheduler.usable_gangs()
        if not usable:
            raise ClusterError(
                f"gangs: got too many failures in a row, the last one: {self._reason()}"
            )
        for gang in usable:
            if not self._supervisor.stands(gang) and not self._scheduler.draining:
                self._supervisor.build(gang)

    def _dispatch(self) -> None:
        now = time.monotonic()
        for _ in range(self._options.limits.max_in_flight):  # every gang its first, then its next
            for gang in self._supervisor.ready:
                lease = self._scheduler.lease(gang, now)
                if lease is not None:
                    self._supervisor.run(lease)

    def _poll(self) -> None:
        if time.monotonic() >= self._next_poll:
            self._next_poll = time.monotonic() + self._options.poll_s
            self._supervisor.ask_all()

    def _patience_s(self) -> float:
        """Seconds until something falls due by itself."""
        wakeup = self._scheduler.next_wakeup()
        due = [time_s for time_s in (self._next_poll, wakeup, self._deadline) if time_s is not None]
        return max(0.0, min(due) - time.monotonic())

    def _silent(self) -> list[Lost]:
        return self._supervisor.silent(self._options.hang_timeout_s, self._options.setup_timeout_s)

    def _hear(self, events: Iterable[Event]) -> None:
        for event in events:
            self._handle(event)
        self._listener.progress(self._snapshot())

    def _handle(self, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, Ready):
            self._scheduler.gang_ready(event.gang)
            self._listener.gang_ready(event.gang)
        elif isinstance(event, Lost):
            self._lose(event, now)
        elif isinstance(event.result, Failure):
            self._tell(self._scheduler.failed(event.lease, event.result, now))
        else:
            self._tell(self._scheduler.completed(event.lease, event.result))

    def _lose(self, event: Lost, now: float) -> None:
        if not self._supervisor.stands(event.gang):
            return  # another rank of it brought the news already
        self._supervisor.kill(event.gang)
        self._counts["gangs_lost"] += 1
        self._last_failure = event.failure
        self._listener.gang_lost(event.gang, event.failure)
        for decision in self._scheduler.gang_lost(event.gang, event.failure, now):
            self._tell(decision)

    def _tell(self, decision: Decision) -> None:
        if isinstance(decision, Completed):
            self._counts["completed"] += 1
            self._listener.completed(decision)
        elif isinstance(decision, DeadLettered):
            self._counts["dead_lettered"] += 1
            self._listener.dead_lettered(decision)
        elif isinstance(decision, Requeued):
            self._counts["requeued"] += 1
            self._listener.requeued(decision)
        elif isinstance(decision, GangRetired):
            self._counts["gangs_retired"] += 1

    def _reason(self) -> str:
        failure = self._last_failure
        return f"{failure.error_class}: {failure.message}" if failure else "unknown"

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            completed=self._counts["completed"],
            dead_lettered=self._counts["dead_lettered"],
            gangs_ready=len(self._supervisor.ready),
            num_gangs=self._num_gangs,
            activities=self._supervisor.activities(),
            stopping=self._scheduler.draining,
        )


def _limits_of(limits: Limits, world_size: int) -> Limits:
    """One item at a time for a gang of several ranks.

    Two calls in flight may reach their compute threads in another order on each rank, and ranks
    that work on different items wait for each other for ever.
    """
    return limits if world_size == 1 else replace(limits, max_in_flight=1)
