"""Keeps the gangs of a run: builds them, calls them, hears them, kills them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import ray
from ray.exceptions import RayError, RayTaskError

from videogen_cluster.failures import ErrorClass, Failure, describe
from videogen_cluster.gang import Gang, GangShape, slowest
from videogen_cluster.health import Activity, Pulse
from videogen_cluster.losses import explain_loss, log_tail
from videogen_cluster.rank import RankReady
from videogen_cluster.scheduler import Lease
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


Event = Ready | Answer | Lost


@dataclass(frozen=True, slots=True)
class _Call:
    kind: Literal["setup", "run", "beat"]
    slot: _Slot
    rank: int
    lease: Lease | None = None


@dataclass(slots=True, eq=False)
class _Slot:
    """One incarnation of a gang and what is known about it."""

    gang: Gang
    pulse: Pulse
    started_at: float
    ranks: dict[int, RankReady] = field(default_factory=dict)
    beats: dict[int, tuple[Activity, ...]] = field(default_factory=dict)
    beat_due: bool = True
    ready: bool = False


class Supervisor:
    """The Ray side of a run. Only `wait` waits."""

    def __init__(self, workload: Workload, shape: GangShape, cluster: Cluster) -> None:
        self._workload = workload
        self._shape = shape
        self._cluster = cluster
        self._slots: dict[int, _Slot] = {}
        self._calls: dict[ray.ObjectRef, _Call] = {}
        self._builds = 0

    def stands(self, gang: int) -> bool:
        """Whether the gang exists, ready or not."""
        return gang in self._slots

    @property
    def ready(self) -> list[int]:
        """The gangs that can take items."""
        return [index for index, slot in self._slots.items() if slot.ready]

    def activities(self) -> tuple[Activity, ...]:
        """What all gangs were doing when they last answered."""
        return tuple(a for slot in self._slots.values() for a in slot.pulse.activities)

    def build(self, gang: int) -> None:
        """Start a gang; `Ready` or `Lost` follows."""
        self._builds += 1
        now = time.monotonic()
        made = Gang(gang, self._workload, self._shape, f"videogen-gang-{gang}-{self._builds}")
        slot = self._slots[gang] = _Slot(made, Pulse(now), now)
        self._call("setup", slot, made.setup())

    def run(self, lease: Lease) -> None:
        """Start an item; `Answer` or `Lost` follows."""
        slot = self._slots[lease.gang]
        self._call("run", slot, slot.gang.run(lease), lease)

    def ask_all(self) -> None:
        """Ask every ready gang what it is doing, unless it still owes the last answer."""
        for slot in self._slots.values():
            if slot.ready and slot.beat_due:
                slot.beat_due = False
                self._call("beat", slot, slot.gang.beat())

    def stop_all(self) -> None:
        """Tell every gang to start no further item."""
        for slot in self._slots.values():
            slot.gang.stop()

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

    def silent(self, hang_timeout_s: float, setup_timeout_s: float) -> list[Lost]:
        """The gangs that have shown no life for too long."""
        now = time.monotonic()
        lost = []
        for index, slot in self._slots.items():
            if slot.ready and slot.pulse.silent_s(now) > hang_timeout_s:
                lost.append(Lost(index, _hang(slot.pulse.activities, hang_timeout_s)))
            elif not slot.ready and now - slot.started_at > setup_timeout_s:
                lost.append(Lost(index, _late(setup_timeout_s)))
        return lost

    def kill(self, gang: int) -> None:
        """End a gang, if it stands, and forget what it was asked."""
        slot = self._slots.pop(gang, None)
        if slot is None:
            return
        self._calls = {ref: call for ref, call in self._calls.items() if call.slot is not slot}
        slot.gang.kill()

    def close(self) -> None:
        """End all gangs; one that cannot be ended does not keep the others alive."""
        with contextlib.ExitStack() as stack:
            for gang in list(self._slots):
                stack.callback(self.kill, gang)

    def _call(
        self,
        kind: Literal["setup", "run", "beat"],
        slot: _Slot,
        refs: list[ray.ObjectRef],
        lease: Lease | None = None,
    ) -> None:
        for rank, ref in enumerate(refs):
            self._calls[ref] = _Call(kind, slot, rank, lease)

    def _read(self, ref: ray.ObjectRef) -> Iterator[Event]:
        call = self._calls.pop(ref)
        try:
            value = ray.get(ref)
        except RayTaskError as error:
            # Ranks catch everything, so this is an answer that could not be sent.
            yield from self._failed(call, describe(error))
        except RayError as error:
            yield Lost(call.slot.gang.index, self._explain(call, error))
        else:
            yield from self._answered(call, value)

    def _answered(self, call: _Call, value: Any) -> Iterator[Event]:
        slot = call.slot
        if isinstance(value, Failure):
            yield from self._failed(call, value)
        elif call.kind == "setup":
            slot.ranks[call.rank] = value
            if len(slot.ranks) == self._shape.world_size:
                slot.ready = True
                slot.pulse.hear((), time.monotonic())
                yield Ready(slot.gang.index)
        elif call.kind == "beat":
            slot.beats[call.rank] = value
            if len(slot.beats) == self._shape.world_size:
                slot.pulse.hear(slowest(list(slot.beats.values())), time.monotonic())
                slot.beats.clear()
                slot.beat_due = True
        elif call.rank == 0 and call.lease is not None:
            yield Answer(call.lease, value)

    def _failed(self, call: _Call, failure: Failure) -> Iterator[Event]:
        if call.kind != "run" or call.lease is None:
            yield Lost(call.slot.gang.index, failure)
            return
        yield Answer(call.lease, failure)
        if self._shape.world_size > 1:
            # The other ranks may wait in a collective for the one that failed.
            yield Lost(
                call.slot.gang.index, Failure(ErrorClass.CANCELLED, "a rank gave up its item")
            )

    def _explain(self, call: _Call, error: RayError) -> Failure:
        rank = call.slot.ranks.get(call.rank)
        if rank is None:
            return explain_loss(error, None)
        return explain_loss(error, rank.node_id, log_tail(self._cluster.logs, rank.pid))


def _hang(activities: tuple[Activity, ...], timeout_s: float) -> Failure:
    doing = ", ".join(f"{a.item_id}: {a.stage} {a.step}/{a.total}" for a in activities) or "nothing"
    return Failure(
        ErrorClass.HANG,
        f"rank: got no sign of life for {timeout_s:g} s (last seen doing {doing}), expected one "
        "per denoising step. Fix: raise cluster.hang_timeout_s if a step may take that long.",
    )


def _late(timeout_s: float) -> Failure:
    return Failure(
        ErrorClass.HANG,
        f"gang: got no answer {timeout_s:g} s after its start, expected it to have loaded its "
        "model. Fix: check that the cluster has the resources it asks for.",
    )
