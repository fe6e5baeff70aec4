"""The loop that joins scheduler, gangs and listener; between events it sleeps."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ray.exceptions import RayError

from videogen_cluster.failures import MESSAGE_CHARACTERS, ErrorClass, Failure
from videogen_cluster.fleet import Fleet
from videogen_cluster.health import Patience
from videogen_cluster.incarnation import STATES, node_leaving, node_lost
from videogen_cluster.limits import Limits
from videogen_cluster.listener import InFlight, Listener, Snapshot
from videogen_cluster.metrics import RunMetrics
from videogen_cluster.nodes import Node, Watch, read_nodes
from videogen_cluster.placement import Layout
from videogen_cluster.scheduler import (
    Completed,
    DeadLettered,
    Decision,
    GangRetired,
    Requeued,
    Scheduler,
)
from videogen_cluster.session import Cluster, ClusterError
from videogen_cluster.supervisor import Answer, Event, Lost, Ready, Steps, Stranger, Supervisor
from videogen_cluster.workload import Workload

Items = Iterable[tuple[str, Mapping[str, Any]]]

# A gang is moved so long before its machine is taken away, if it is not idle earlier.
_LEAVE_EARLY_S = 5.0
_ABSENCE_S = 1.0
_NO_ROOM = Failure(ErrorClass.CANCELLED, "the cluster has no room for it any more")


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How a run behaves.

    Attributes:
        limits: budgets of items and gangs.
        hang_timeout_s: silence after which a gang is killed; None learns it from the steps seen,
            and allows `setup_timeout_s` in the first step of a kind.
        setup_timeout_s: the same while it starts and loads its model, once it has resources.
        poll_s: how often gangs are asked what they are doing.
        nodes_s: how often the cluster is asked for its machines.
        grace_s: how long work in flight may go on once the run is stopped.
    """

    limits: Limits = field(default_factory=Limits)
    hang_timeout_s: float | None = None
    setup_timeout_s: float = 900.0
    poll_s: float = 0.5
    nodes_s: float = 2.0
    grace_s: float = 5.0


@dataclass(frozen=True, slots=True)
class EngineReport:
    """How a run went; `interrupted` when it was stopped with items left.

    `requeued` counts every return of an item, `redone` only those of items that work was lost of.
    """

    completed: int
    dead_lettered: int
    requeued: int
    redone: int
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
        self._supervisor = Supervisor(workload, options.limits.max_in_flight, cluster)
        self._scheduler = Scheduler(options.limits)
        self._fleet = Fleet(layout)
        self._watch = Watch()
        self._patience = Patience(options.hang_timeout_s)
        self._options = options
        self._listener = listener
        self._metrics = RunMetrics()
        self._counts: Counter[str] = Counter()
        self._last_failure: Failure | None = None
        self._listened_at = time.monotonic()
        self._next_poll = 0.0
        self._next_look = 0.0
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
            ClusterError: every gang failed too often in a row, a node runs other code than this
                process, or Ray itself is gone.
        """
        started = self._listened_at = time.monotonic()
        try:
            self._work(iter(items))
        except (RayError, ConnectionError) as error:
            # What signals this process may take Ray along, and then nothing is left to drain.
            if not self._stop_asked:
                raise ClusterError(
                    f"Ray: got '{error}', expected it to stay. Fix: run again."
                ) from error
        finally:
            self._close()
        return EngineReport(
            completed=self._counts["completed"],
            dead_lettered=self._counts["dead_lettered"],
            requeued=self._counts["requeued"],
            redone=self._counts["redone"],
            gangs_lost=self._counts["gangs_lost"],
            interrupted=not self._scheduler.all_ended,
            elapsed_s=time.monotonic() - started,
        )

    def _work(self, source: Iterator[tuple[str, Mapping[str, Any]]]) -> None:
        self._feed(source)
        while not self._is_over():
            self._look()
            self._build()
            self._dispatch()
            self._poll()
            self._hear(self._wait())
            self._hear(self._silent())
            self._feed(source)

    def _wait(self) -> list[Event]:
        """Wait for news; time in which nobody listened is held against no gang.

        Storage that hangs in the listener, a stopped process or a suspended machine would else
        make every gang look dead.
        """
        timeout_s = self._patience_s()
        began = time.monotonic()
        events = self._supervisor.wait(timeout_s)
        ended = time.monotonic()
        for away_s in (began - self._listened_at, ended - began - timeout_s):
            if away_s > _ABSENCE_S:
                self._supervisor.excuse(away_s)
        self._listened_at = ended
        return events

    def _close(self) -> None:
        try:
            self._supervisor.close()
        except (RayError, ConnectionError):
            if not self._stop_asked:
                raise

    def _is_over(self) -> bool:
        self._stop_asked = self._stop_asked or self._listener.wants_stop()
        if self._stop_asked and not self._scheduler.draining:
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

    # The cluster and its gangs

    def _look(self) -> None:
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + self._options.nodes_s
        nodes = read_nodes()
        if not nodes:
            raise ClusterError("Ray: got no living node, expected one. Fix: run the same command.")
        change = self._watch.update(nodes)
        for node in change.joined:
            self._listener.node_joined(node.id, node.name)
        for node in change.left:
            self._listener.node_left(node.id, node.name)
            self._hear(
                Lost(body.gang.index, body.blame(node_lost(node.name)))
                for body in self._supervisor.on([node.id])
            )
        self._leave([node for node in nodes if node.leaves_in_s is not None])
        self._follow(nodes)

    def _leave(self, leaving: Iterable[Node]) -> None:
        """Let gangs end what they hold on machines that will go, then move them."""
        for node in leaving:
            for body in self._supervisor.on([node.id]):
                gang = body.gang.index
                self._scheduler.hold(gang)
                is_idle = not self._scheduler.leases(gang)
                if is_idle or (node.leaves_in_s or 0.0) < _LEAVE_EARLY_S:
                    self._hear([Lost(gang, body.blame(node_leaving(node.name)))])

    def _follow(self, nodes: list[Node]) -> None:
        change = self._fleet.plan(nodes, self._supervisor.placed)
        for shape in change.added:
            self._fleet.add(self._scheduler.add_gang(), shape)
        for gang in change.retired:
            self._supervisor.kill(gang)
            self._fleet.remove(gang)
            for decision in self._scheduler.retire(gang, _NO_ROOM, time.monotonic()):
                self._tell(decision)
            self._listener.gang_retired(gang, _NO_ROOM.message)

    def _build(self) -> None:
        if self._scheduler.draining:
            return
        self._scheduler.pardon(time.monotonic())
        if self._scheduler.is_hopeless:
            raise ClusterError(
                f"gangs: got too many failures in a row, the last one: {self._reason()}"
            )
        for gang in self._scheduler.buildable_gangs(time.monotonic()):
            if not self._supervisor.stands(gang):
                self._supervisor.build(gang, self._fleet.shape(gang))
                self._listener.gang_building(gang)

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
            states = self._supervisor.states()
            self._metrics.gangs(**{state: states[state] for state in STATES})
            self._metrics.in_flight(self._scheduler.num_in_flight)

    def _patience_s(self) -> float:
        """Seconds until something falls due by itself."""
        now = time.monotonic()
        due = [self._next_poll, self._next_look]
        wakeup = self._scheduler.next_wakeup()
        if wakeup is not None and wakeup > now:  # what is overdue waits for a gang
            due.append(wakeup)
        if self._deadline is not None:
            due.append(self._deadline)
        return max(0.0, min(due) - now)

    def _silent(self) -> list[Lost]:
        return self._supervisor.silent(self._patience, self._options.setup_timeout_s)

    # What happened

    def _hear(self, events: Iterable[Event]) -> None:
        for event in events:
            self._handle(event)
        self._listener.progress(self._snapshot())

    def _handle(self, event: Event) -> None:
        if isinstance(event, Ready):
            self._scheduler.gang_ready(event.gang)
            self._listener.gang_ready(event.gang)
        elif isinstance(event, Lost):
            self._lose(event, time.monotonic())
        elif isinstance(event, Steps):
            self._patience.learn(event.steps)
            self._metrics.steps(event.steps)
        elif isinstance(event, Stranger):
            raise ClusterError(
                f"node {self._watch.name(event.node_id)}: got {'; '.join(event.differences)} as on "
                "this machine. Fix: install the same videogen, torch and Ray on every node, or use "
                "`videogen submit`, which ships the code."
            )
        else:
            self._answer(event)

    def _answer(self, event: Answer) -> None:
        if isinstance(event.result, Failure):
            self._metrics.attempt(event.result.error_class)
            now, gang = time.monotonic(), event.lease.gang
            self._tell(self._scheduler.failed(event.lease, event.result, now))
            if self._scheduler.is_sick(gang) and not self._scheduler.finished:
                self._lose(Lost(gang, _sickness(event.result)), now)
        else:
            self._metrics.attempt()
            self._tell(self._scheduler.completed(event.lease, event.result))

    def _lose(self, event: Lost, now: float) -> None:
        if not self._supervisor.stands(event.gang):
            return  # another rank of it brought the news already
        started = {activity.item_id for activity in self._supervisor.doing(event.gang)}
        for _ in self._scheduler.leases(event.gang):
            self._metrics.attempt(event.failure.error_class)
        self._supervisor.kill(event.gang)
        self._next_look = 0.0  # its machine may have gone with it
        self._counts["gangs_lost"] += 1
        self._last_failure = event.failure
        self._listener.gang_lost(event.gang, event.failure)
        for decision in self._scheduler.gang_lost(event.gang, event.failure, now, started):
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
            self._counts["redone"] += decision.started
            self._listener.requeued(decision)
        elif isinstance(decision, GangRetired):
            self._listener.gang_retired(decision.gang, decision.failure.message)

    def _reason(self) -> str:
        failure = self._last_failure
        return f"{failure.error_class}: {failure.message}" if failure else "unknown"

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            completed=self._counts["completed"],
            dead_lettered=self._counts["dead_lettered"],
            gangs_ready=len(self._supervisor.ready),
            num_gangs=len(self._fleet),
            activities=self._supervisor.activities(),
            stopping=self._scheduler.draining,
            in_flight=tuple(self._in_flight()),
            gangs_lost=self._counts["gangs_lost"],
            items_redone=self._counts["redone"],
            gangs_waiting=self._supervisor.states()["waiting"],
        )

    def _in_flight(self) -> Iterator[InFlight]:
        for gang in self._supervisor.ready:
            doing = {activity.item_id: activity for activity in self._supervisor.doing(gang)}
            for lease in self._scheduler.leases(gang):
                if found := doing.get(lease.item_id):
                    yield InFlight(lease.item_id, gang, found.stage, found.step, found.total)
                else:
                    yield InFlight(lease.item_id, gang)


def _sickness(last: Failure) -> Failure:
    """Why a gang is replaced that fails one item after the other; the next ones pay nothing."""
    message = f"failed one item after the other, the last one with {last.error_class}: "
    return replace(
        last,
        error_class=ErrorClass.CANCELLED,
        message=(message + last.message)[:MESSAGE_CHARACTERS],
    )
