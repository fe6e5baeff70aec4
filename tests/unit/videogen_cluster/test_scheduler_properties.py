"""Whatever happens in whatever order: one end per item, bounded attempts, nothing lost."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from videogen_cluster.failures import POLICIES, ErrorClass, Failure
from videogen_cluster.scheduler import (
    Completed,
    DeadLettered,
    Decision,
    GangRetired,
    Lease,
    Limits,
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
        self.retired: set[int] = set()
        self.refilled = 0

    @initialize(
        gangs=st.integers(1, 3),
        attempts=st.integers(1, 4),
        in_flight=st.integers(1, 3),
        capacity=st.integers(1, 6),
    )
    def start(self, gangs: int, attempts: int, in_flight: int, capacity: int) -> None:
        limits = Limits(
            max_attempts=attempts,
            max_gang_deaths=attempts + 40,
            max_setup_failures=40,
            max_in_flight=in_flight,
            queue_capacity=capacity,
        )
        self.num_gangs = gangs
        self.scheduler = Scheduler(limits, gangs)

    def note(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            if isinstance(decision, GangRetired):
                self.retired.add(decision.gang)
            elif isinstance(decision, Completed | DeadLettered):
                assert decision.item_id not in self.ended, "ended twice"
                self.ended[decision.item_id] = decision

    def alive(self, gang: int) -> int:
        return gang % self.num_gangs

    @precondition(lambda self: not self.scheduler.draining)
    @rule()
    def offer(self) -> None:
        if self.scheduler.room():
            self.offered.append(f"item-{len(self.offered)}")
            self.scheduler.offer(self.offered[-1], {})

    @rule(gang=st.integers(0, 2))
    def build(self, gang: int) -> None:
        gang = self.alive(gang)
        if gang not in self.retired:
            self.scheduler.gang_ready(gang)
            self.up.add(gang)

    @rule(gang=st.integers(0, 2))
    def lease(self, gang: int) -> None:
        gang = self.alive(gang)
        lease = self.scheduler.lease(gang, self.now)
        if lease is not None:
            assert gang in self.up
            assert lease.item_id not in self.ended
            assert lease.attempt <= self.scheduler.limits.max_attempts
            running = [held for held in self.held.values() if held.item_id == lease.item_id]
            assert not running, "leased twice at once"
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

    @rule(gang=st.integers(0, 2), error_class=st.sampled_from(GANG_ERRORS))
    def lose(self, gang: int, error_class: ErrorClass) -> None:
        gang = self.alive(gang)
        if gang in self.retired:
            return
        lost = [lease for lease in self.held.values() if lease.gang == gang]
        for lease in lost:
            self.old.append(self.held.pop(lease.number))
            # A death in company may go uncharged once, when it would have been the last attempt.
            is_blamed = len(lost) == 1 and lease.item_id not in self.ended
            self.charged[lease.item_id] += POLICIES[error_class].charged and is_blamed
        self.up.discard(gang)
        self.note(self.scheduler.gang_lost(gang, Failure(error_class, "x"), self.now))

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

    @precondition(lambda self: len(self.offered) > 3)
    @rule()
    def drain(self) -> None:
        self.scheduler.drain()
        assert all(self.scheduler.lease(gang, self.now) is None for gang in range(self.num_gangs))

    @rule()
    def restart_coordinator(self) -> None:
        """A new coordinator knows only what storage shows: what completed."""
        missing = [item for item in self.offered if item not in self.ended]
        self.scheduler = Scheduler(self.scheduler.limits, self.num_gangs)
        self.held.clear()
        self.old.clear()
        self.charged.clear()
        self.up.clear()
        self.retired.clear()
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
        for gang in set(range(self.num_gangs)) - self.retired:
            self.scheduler.gang_ready(gang)
        for _ in range(1000):
            self.now += 100.0
            leases = [self.scheduler.lease(gang, self.now) for gang in range(self.num_gangs)]
            for lease in filter(None, leases):
                self.note([self.scheduler.completed(lease, {})])
            if self.scheduler.finished:
                break
        if len(self.retired) < self.num_gangs:
            assert self.scheduler.finished
            assert set(self.ended) == set(self.offered)


SchedulerMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None
)
TestScheduler = SchedulerMachine.TestCase
