"""Keeps the gangs of a run: builds them, calls them, hears them, kills them."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import ray
from ray.exceptions import ActorUnavailableError, RayError, RayTaskError

from videogen_cluster.failures import ErrorClass, Failure, describe
from videogen_cluster.gang import Gang, slowest
from videogen_cluster.handshake import Versions
from videogen_cluster.health import Activity, Patience, Pulse, Step
from videogen_cluster.incarnation import Incarnation, out_of_reach
from videogen_cluster.lease import Lease
from videogen_cluster.losses import explain_loss, log_tail
from videogen_cluster.placement import GangShape
from videogen_cluster.rank import RankReady
from videogen_cluster.session import Cluster
from videogen_cluster.workload import Workload


@dataclass(frozen=True, slots=True)
class Ready:
    """Every rank of a gang has loaded its model."""

    gang: int


@dataclass(frozen=True, slots=True)
class Answer:
    """An attempt is over: `result` is the record of the item, or why there is none."""

    lease: Lease
    result: dict[str, Any] | Failure


@dataclass(frozen=True, slots=True)
class Lost:
    """A gang is gone or has to go."""

    gang: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class Stranger:
    """A rank runs other code than the driver; nothing it makes can be trusted."""

    node_id: str
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps that a gang has made."""

    steps: tuple[Step, ...]


# It costs the other items of the gang nothing.
_LEFT_WAITING = Failure(
    ErrorClass.CANCELLED, "a rank gave up its item, and the others may wait for it in a collective"
)

Event = Ready | Answer | Lost | Stranger | Steps
Kind = Literal["setup", "run", "report"]


@dataclass(frozen=True, slots=True)
class _Call:
    kind: Kind
    body: Incarnation
    rank: int
    lease: Lease | None = None


class Supervisor:
    """The Ray side of a run. Only `wait` waits."""

    def __init__(self, workload: Workload, max_in_flight: int, cluster: Cluster) -> None:
        self._workload = workload
        self._max_in_flight = max_in_flight
        self._cluster = cluster
        self._versions = Versions.here()
        self._bodies: dict[int, Incarnation] = {}
        self._calls: dict[ray.ObjectRef, _Call] = {}
        self._builds = 0

    def stands(self, gang: int) -> bool:
        """Whether the gang exists, ready or not."""
        return gang in self._bodies

    @property
    def ready(self) -> list[int]:
        """The gangs that can take items."""
        return [i for i, body in self._bodies.items() if body.ready and not body.complaints]

    @property
    def placed(self) -> list[int]:
        """The gangs that have their resources."""
        return [index for index, body in self._bodies.items() if body.nodes]

    def states(self) -> Counter[str]:
        """How many gangs wait for room, start, and are ready."""
        return Counter(body.state for body in self._bodies.values())

    def nodes(self, gang: int) -> tuple[str, ...]:
        """The machines that a gang lies on; none while it waits."""
        return self._bodies[gang].nodes if gang in self._bodies else ()

    def doing(self, gang: int) -> tuple[Activity, ...]:
        """What a gang was doing when it last answered."""
        return self._bodies[gang].pulse.activities if gang in self._bodies else ()

    def activities(self) -> tuple[Activity, ...]:
        """What all gangs were doing when they last answered."""
        return tuple(a for body in self._bodies.values() for a in body.pulse.activities)

    def build(self, gang: int, shape: GangShape) -> None:
        """Start a gang as soon as the cluster has room for it; `Ready` or `Lost` follows."""
        self._builds += 1
        name = f"videogen-gang-{gang}-{self._builds}"
        made = Gang(gang, self._workload, shape, self._max_in_flight, name)
        body = self._bodies[gang] = Incarnation(made, Pulse(time.monotonic()))
        self._call("setup", body, made.setup())

    def run(self, lease: Lease) -> None:
        """Start an item; `Answer` or `Lost` follows."""
        body = self._bodies[lease.gang]
        body.num_owed += 1
        self._call("run", body, body.gang.run(lease), lease)

    def ask_all(self) -> None:
        """Ask every ready gang what it is doing, unless it still owes the last answer."""
        for body in self._bodies.values():
            body.look()
            if (body.ready or body.doubts) and body.report_due:
                body.report_due = False
                self._call("report", body, body.gang.report())

    def stop_all(self) -> None:
        """Tell every gang to start no further item."""
        for body in self._bodies.values():
            body.gang.stop()

    def wait(self, timeout_s: float) -> list[Event]:
        """Sleep until something happened or the time is over; answers come before losses."""
        if not self._calls:
            time.sleep(timeout_s)
            return []
        done, _ = ray.wait(list(self._calls), num_returns=1, timeout=timeout_s)
        if done:
            done, _ = ray.wait(list(self._calls), num_returns=len(self._calls), timeout=0)
        events = [event for ref in done for event in self._read(ref)]
        return sorted(events, key=lambda event: isinstance(event, Lost))

    def excuse(self, seconds: float) -> None:
        """Forgive all gangs a silence in which this process was away or busy with other things."""
        for body in self._bodies.values():
            body.excuse(seconds)

    def silent(self, patience: Patience, setup_timeout_s: float) -> list[Lost]:
        """The gangs that have shown no life for too long."""
        overdue = (
            (index, body.overdue(patience, setup_timeout_s)) for index, body in self._bodies.items()
        )
        return [Lost(index, failure) for index, failure in overdue if failure]

    def on(self, node_ids: Collection[str]) -> list[Incarnation]:
        """The gangs that have a rank on one of these machines."""
        return [body for body in self._bodies.values() if not set(node_ids).isdisjoint(body.nodes)]

    def kill(self, gang: int) -> None:
        """End a gang, if it stands, and forget what it was asked."""
        body = self._bodies.pop(gang, None)
        if body is None:
            return
        self._calls = {ref: call for ref, call in self._calls.items() if call.body is not body}
        body.gang.kill()

    def close(self) -> None:
        """End all gangs; one that cannot be ended does not keep the others alive."""
        with contextlib.ExitStack() as stack:
            for gang in list(self._bodies):
                stack.callback(self.kill, gang)

    def _call(
        self,
        kind: Kind,
        body: Incarnation,
        refs: list[ray.ObjectRef],
        lease: Lease | None = None,
    ) -> None:
        for rank, ref in enumerate(refs):
            self._calls[ref] = _Call(kind, body, rank, lease)

    def _read(self, ref: ray.ObjectRef) -> Iterator[Event]:
        call = self._calls.pop(ref)
        try:
            value = ray.get(ref)
        except RayTaskError as error:
            # Ranks catch everything, so this is an answer that could not be sent.
            yield from self._failed(call, describe(error))
        except ActorUnavailableError:
            self._doubt(call)
        except RayError as error:
            yield Lost(call.body.gang.index, self._explain(call, error))
        else:
            yield from self._answered(call, value)

    def _doubt(self, call: _Call) -> None:
        """Nobody knows yet what is gone, so keep asking; Ray finds out, or `silent` gives up."""
        body = call.body
        body.doubts.setdefault(call.rank, time.monotonic())
        if call.kind == "report":
            body.report_due = True

    def _answered(self, call: _Call, value: Any) -> Iterator[Event]:
        if isinstance(value, Failure):
            yield from self._failed(call, value)
        elif call.kind == "setup":
            yield from self._introduced(call, value)
        elif call.kind == "report":
            yield from self._reported(call, value)
        elif call.rank == 0 and call.lease is not None:
            call.body.num_owed -= 1
            yield Answer(call.lease, value)

    def _introduced(self, call: _Call, rank: RankReady) -> Iterator[Event]:
        body = call.body
        body.ranks[call.rank] = rank
        if differences := self._versions.differences(rank.versions):
            yield Stranger(rank.node_id, tuple(differences))
        elif len(body.ranks) == body.gang.shape.world_size:
            body.place(tuple(body.ranks[index].node_id for index in sorted(body.ranks)))
            body.ready = True
            body.pulse.hear((), time.monotonic())
            yield Ready(body.gang.index)

    def _reported(self, call: _Call, report: Any) -> Iterator[Event]:
        body = call.body
        if call.rank in body.doubts:
            # It lives, but an answer of its was lost on the way and will never come.
            yield Lost(body.gang.index, body.blame(out_of_reach(body.doubted_s or 0.0)))
            return
        body.reports[call.rank] = report
        if len(body.reports) < body.gang.shape.world_size:
            return
        reports = list(body.reports.values())
        body.reports.clear()
        body.report_due = True
        activities = slowest(reports).activities
        body.pulse.hear(activities, time.monotonic(), owes_items=body.num_owed > 0)
        yield Steps(reports[0].steps)

    def _failed(self, call: _Call, failure: Failure) -> Iterator[Event]:
        body, failure = call.body, call.body.blame(failure, detected_s=0.0, rank=call.rank)
        if failure.error_class is ErrorClass.COLLECTIVE:
            # What happened to another rank is the reason, and Ray or that rank will say it.
            body.complain(call.rank, failure)
            return
        if call.kind != "run" or call.lease is None:
            yield Lost(body.gang.index, failure)
            return
        if call.rank == 0:
            body.num_owed -= 1
        yield Answer(call.lease, failure)
        if failure.while_computing and body.gang.shape.world_size > 1:
            yield Lost(body.gang.index, body.blame(_LEFT_WAITING, 0.0, call.rank))

    def _explain(self, call: _Call, error: RayError) -> Failure:
        body, rank = call.body, call.body.ranks.get(call.rank)
        if rank is None:
            return body.blame(explain_loss(error, next(iter(body.nodes), None)))
        log = log_tail(self._cluster.logs, rank.pid)
        return body.blame(explain_loss(error, rank.node_id, log), rank=call.rank)
