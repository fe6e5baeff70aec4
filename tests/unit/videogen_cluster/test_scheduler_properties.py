"""Whatever happens in whatever order: one end per item, bounded attempts, nothing lost."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from videogen_cluster.failures import POLICIES, ErrorClass, Failure
from videogen_cluster.lease import Lease
from videogen_cluster.limits import Limits
from videogen_cluster.scheduler import (
    Completed,
    DeadLettered,
    Decision,
    GangRetired,
    Requeued,
    Scheduler,
)

ITEM_ERRORS = [e for e in ErrorClass if e not in (ErrorClass.RANK_DEATH, ErrorClass.HANG)]
GANG_ERRORS = [
    ErrorClass.RANK_DEATH,
    ErrorClass.HANG,
    ErrorClass.PREEMPTION,
    ErrorClass.OUT_OF_MEMORY,
]


class SchedulerMachine(RuleBasedStateMachine):
    """Drives a scheduler as a driver would, and keeps its own books beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.offered: list[str] = []
        self.ended: dict[str, Decision] = {}
        self.held: dict[int, Lease] = {}
        self.old: list[Lease] = []
        self.charged: Counter[str] = Counter()
        self.up: set[int] = set()
        self.gone: set[int] = set()
        self.on_hold: set[int] = set()
        self.refilled = 0

    @initialize(
        gangs=st.integers(0, 2),
        attempts=st.integers(1, 4),
        in_flight=st.integers(1, 3),
        capacity=st.integers(1, 6),
    )
    def start(self, gangs: int, attempts: int, in_flight: int, capacity: int) -> None:
        limits = Limits(
            max_attempts=attempts,
            max_gang_deaths=attempts + 2,
            max_setup_failures=3,
            max_in_flight=in_flight,
            queue_capacity=capacity,
        )
        self.num_gangs = gangs
        self.scheduler = Scheduler(limits, gangs)

    def note(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            if isinstance(decision, GangRetired):
                self.gone.add(decision.gang)
            elif isinstance(decision, Completed | DeadLettered):
                assert decision.item_id not in self.ended, "ended twice"
                self.ended[decision.item_id] = decision

    def usable(self) -> list[int]:
        """The gangs that are still part of the run."""
        return sorted(set(range(self.num_gangs)) - self.gone)

    def take_from(self, gang: int) -> list[Lease]:
        """Forget what a gang holds, as it goes."""
        lost = [lease for lease in self.held.values() if lease.gang == gang]
        for lease in lost:
            self.old.append(self.held.pop(lease.number))
        self.up.discard(gang)
        self.on_hold.discard(gang)
        return lost

    @precondition(lambda self: not self.scheduler.draining)
    @rule()
    def offer(self) -> None:
        for _ in range(min(3, self.scheduler.room())):
            self.offered.append(f"item-{len(self.offered)}")
            self.scheduler.offer(self.offered[-1], {})

    @precondition(lambda self: len(self.usable()) < 3)
    @rule()
    def a_node_joins(self) -> None:
        assert self.scheduler.add_gang() == self.num_gangs, "an index was used again"
        self.num_gangs += 1

    @precondition(lambda self: set(self.usable()) - self.up)
    @rule(data=st.data())
    def build(self, data: st.DataObject) -> None:
        gang = data.draw(st.sampled_from(sorted(set(self.usable()) - self.up)))
        if gang in self.scheduler.buildable_gangs(self.now):
            self.scheduler.gang_ready(gang)
            self.up.add(gang)

    @precondition(lambda self: set(self.usable()) - self.up)
    @rule(data=st.data(), error_class=st.sampled_from(GANG_ERRORS))
    def fail_to_start(self, data: st.DataObject, error_class: ErrorClass) -> None:
        gang = data.draw(st.sampled_from(sorted(set(self.usable()) - self.up)))
        if gang in self.scheduler.buildable_gangs(self.now):
            self.note(self.scheduler.gang_lost(gang, Failure(error_class, "x"), self.now))
            assert gang not in self.scheduler.buildable_gangs(self.now), "rebuilt without a pause"

    @precondition(lambda self: self.scheduler.given_up_gangs())
    @rule()
    def pardon(self) -> None:
        given_up = self.scheduler.given_up_gangs()
        self.scheduler.pardon(self.now)
        self.gone -= set(given_up) - set(self.scheduler.given_up_gangs())

    @precondition(lambda self: self.up)
    @rule(data=st.data(), is_held=st.booleans())
    def a_node_is_to_leave(self, data: st.DataObject, is_held: bool) -> None:
        gang = data.draw(st.sampled_from(sorted(self.up)))
        self.scheduler.hold(gang, is_held)
        (self.on_hold.add if is_held else self.on_hold.discard)(gang)

    @precondition(lambda self: self.up)
    @rule(data=st.data(), error_class=st.sampled_from(GANG_ERRORS))
    def lose_an_idle_gang(self, data: st.DataObject, error_class: ErrorClass) -> None:
        gang = data.draw(st.sampled_from(sorted(self.up)))
        if not self.scheduler.leases(gang):
            self.take_from(gang)
            self.note(self.scheduler.gang_lost(gang, Failure(error_class, "x"), self.now))

    @precondition(lambda self: len(self.usable()) > 2)
    @rule(data=st.data())
    def a_gang_is_one_too_many(self, data: st.DataObject) -> None:
        gang = data.draw(st.sampled_from(self.usable()))
        self.take_from(gang)
        self.note(self.scheduler.retire(gang, Failure(ErrorClass.CANCELLED, "x"), self.now))
        self.gone.add(gang)

    @precondition(lambda self: self.up)
    @rule(data=st.data())
    def lease(self, data: st.DataObject) -> None:
        gang = data.draw(st.sampled_from(sorted(self.up)))
        lease = self.scheduler.lease(gang, self.now)
        if lease is not None:
            assert gang not in self.on_hold
            assert lease.item_id not in self.ended
            assert lease.attempt <= self.scheduler.limits.max_attempts
            running = [held for held in self.held.values() if held.item_id == lease.item_id]
            assert not running, "leased twice at once"
            self.held[lease.number] = lease

    @rule()
    def run_on(self) -> None:
        """What a driver does after every event."""
        while len(self.usable()) < 2:
            self.a_node_joins()
        self.now += 100.0
        for gang in set(self.usable()) - self.up:
            self.scheduler.gang_ready(gang)
            self.up.add(gang)
        if not self.scheduler.draining:
            self.offer()
        for gang in [*self.up, *self.up]:
            if lease := self.scheduler.lease(gang, self.now):
                self.held[lease.number] = lease

    @rule(seconds=st.floats(0.0, 100.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        lease = self.held.pop(data.draw(st.sampled_from(sorted(self.held))))
        self.old.append(lease)
        self.note([self.scheduler.completed(lease, {})])

    @precondition(lambda self: self.held)
    @rule(data=st.data(), error_class=st.sampled_from(ITEM_ERRORS))
    def fail(self, data: st.DataObject, error_class: ErrorClass) -> None:
        lease = self.held.pop(data.draw(st.sampled_from(sorted(self.held))))
        self.old.append(lease)
        is_live = lease.item_id not in self.ended
        self.charged[lease.item_id] += POLICIES[error_class].charged and is_live
        self.note([self.scheduler.failed(lease, Failure(error_class, "x"), self.now)])
        if self.scheduler.is_sick(lease.gang):
            self.take_from(lease.gang)
            replaced = Failure(ErrorClass.CANCELLED, "x")
            self.note(self.scheduler.gang_lost(lease.gang, replaced, self.now))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), error_class=st.sampled_from(GANG_ERRORS), seen=st.booleans())
    def lose(self, data: st.DataObject, error_class: ErrorClass, seen: bool) -> None:
        chosen = data.draw(st.sampled_from(sorted({held.gang for held in self.held.values()})))
        lost = self.take_from(chosen)
        for lease in lost:
            # A death in company may go uncharged once, when it would have been the last attempt.
            is_blamed = len(lost) == 1 and lease.item_id not in self.ended
            self.charged[lease.item_id] += POLICIES[error_class].charged and is_blamed
        started = [lost[0].item_id] if lost and seen else []
        decisions = self.scheduler.gang_lost(chosen, Failure(error_class, "x"), self.now, started)
        self.note(decisions)
        redone = [d.item_id for d in decisions if isinstance(d, Requeued) and d.started]
        assert set(redone) <= set(started), "counted as redone what was never begun"

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def late_failure(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.old))
        before = self.scheduler.num_live
        self.note([self.scheduler.failed(lease, Failure(ErrorClass.UNEXPECTED, "x"), self.now)])
        assert self.scheduler.num_live == before

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def late_completion(self, data: st.DataObject) -> None:
        self.note([self.scheduler.completed(data.draw(st.sampled_from(self.old)), {})])

    @precondition(lambda self: len(self.offered) > 12)
    @rule()
    def drain(self) -> None:
        self.scheduler.drain()
        assert all(self.scheduler.lease(gang, self.now) is None for gang in range(self.num_gangs))

    @invariant()
    def gone_gangs_are_not_built(self) -> None:
        if self.offered:
            assert not self.gone.intersection(self.scheduler.buildable_gangs(1e12))
            assert set(self.scheduler.usable_gangs()).isdisjoint(self.gone)

    @rule()
    def restart_coordinator(self) -> None:
        """A new coordinator knows only what storage shows: what completed."""
        missing = [item for item in self.offered if item not in self.ended]
        self.scheduler = Scheduler(self.scheduler.limits, self.num_gangs)
        self.held.clear()
        self.old.clear()
        self.charged.clear()
        self.up.clear()
        self.gone.clear()
        self.on_hold.clear()
        self.refilled = len(missing)
        for item in missing:
            self.scheduler.offer(item, {})

    @invariant()
    def nothing_is_lost(self) -> None:
        if self.offered:
            assert len(self.ended) + self.scheduler.num_live == len(self.offered)

    @invariant()
    def attempts_are_bounded(self) -> None:
        if self.offered:
            cap = self.scheduler.limits.max_attempts
            for item, count in self.charged.items():
                assert count <= cap, f"{item} was charged {count} times of {cap}"

    @invariant()
    def the_queue_is_bounded(self) -> None:
        if self.offered:
            waiting = self.scheduler.num_live - self.scheduler.num_in_flight
            in_flight = self.num_gangs * self.scheduler.limits.max_in_flight
            assert waiting <= max(self.scheduler.limits.queue_capacity, self.refilled) + in_flight

    def teardown(self) -> None:
        """From any state, healthy gangs finish every item that is left."""
        if not self.offered:
            return
        if self.scheduler.draining:
            self.restart_coordinator()
        self.scheduler.close()
        for lease in list(self.held.values()):
            self.note([self.scheduler.completed(lease, {})])
        if not self.usable():
            self.a_node_joins()
        for gang in set(range(self.num_gangs)) - self.gone:
            self.scheduler.gang_ready(gang)
        for _ in range(1000):
            self.now += 100.0
            leases = [self.scheduler.lease(gang, self.now) for gang in range(self.num_gangs)]
            for lease in filter(None, leases):
                self.note([self.scheduler.completed(lease, {})])
            if self.scheduler.finished:
                break
        assert self.scheduler.finished
        assert set(self.ended) == set(self.offered)


SchedulerMachine.TestCase.settings = settings(
    max_examples=200, stateful_step_count=60, deadline=None
)
TestScheduler = SchedulerMachine.TestCase
