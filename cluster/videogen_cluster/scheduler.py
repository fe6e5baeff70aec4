"""Which item runs where, how often, and how it ends: a state machine without Ray or a clock.

Events go in (`offer`, `gang_ready`, `completed`, `failed`, `gang_lost`, `drain`, and as the cluster
grows and shrinks `add_gang`, `hold`, `retire`), decisions come out. Every item ends exactly once,
as `Completed` or `DeadLettered`, unless the run is drained first; then it is simply still missing
and the next run makes it.

An item whose gang died while another item was in flight there is a *suspect*: nobody knows which
of the two did it. It costs both an attempt, but never the last one, and each then runs alone, so
a poison item cannot take an innocent one into the dead letter.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from videogen_cluster.failures import POLICIES, ErrorClass, Failure


@dataclass(frozen=True, slots=True)
class Limits:
    """Budgets of a run.

    Attributes:
        max_attempts: charged attempts an item gets.
        max_gang_deaths: deaths of one gang in a row, with no item ending in between, before it
            is given up. Above `max_attempts`, or one poison item would strand the queue.
        max_setup_failures: failed starts of one gang in a row before it is given up, if it has
            never been ready. One that has been can start, so what stops it may pass: its failed
            starts then count as its deaths do.
        parole_s: wait before a gang that was given up is tried once more, if items were completed
            meanwhile; twice as long each time.
        max_in_flight: items a gang holds at once: one computing, one finishing or waiting.
        queue_capacity: items held in memory ahead of need.
        backoff_s, max_backoff_s: first and longest wait before a retry that backs off.
    """

    max_attempts: int = 3
    max_gang_deaths: int = 6
    max_setup_failures: int = 3
    parole_s: float = 60.0
    max_in_flight: int = 2
    queue_capacity: int = 64
    backoff_s: float = 1.0
    max_backoff_s: float = 60.0

    def __post_init__(self) -> None:
        if self.max_attempts < 1 or self.max_in_flight < 1 or self.queue_capacity < 1:
            raise ValueError(f"limits: got {self}, expected counts of at least 1.")
        if self.max_gang_deaths <= self.max_attempts:
            raise ValueError(
                f"max_gang_deaths: got {self.max_gang_deaths}, expected more than max_attempts "
                f"({self.max_attempts}), because one bad item may cost that many gangs."
            )


@dataclass(frozen=True, slots=True)
class Lease:
    """One attempt of one item, held by one gang; `repeat` says that it was leased before."""

    number: int
    item_id: str
    gang: int
    payload: Mapping[str, Any]
    attempt: int
    degrade: int
    exclusive: bool
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class Completed:
    """Terminal: the item is done."""

    item_id: str
    attempts: int
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """Terminal: the item failed for good."""

    item_id: str
    attempts: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class Requeued:
    """The item will be tried again; an uncharged return leaves `attempts` as it was.

    `started` says that work was done on it, which is now done again.
    """

    item_id: str
    attempts: int
    failure: Failure
    not_before: float
    started: bool = False


@dataclass(frozen=True, slots=True)
class Stale:
    """News about a lease that no longer counts, such as a second completion; nothing to do."""

    item_id: str


@dataclass(frozen=True, slots=True)
class GangRetired:
    """This gang failed too often in a row and is given up, until it is pardoned if ever."""

    gang: int
    failure: Failure


Decision = Completed | DeadLettered | Requeued | Stale | GangRetired

_MAX_PAROLE_S = 3600.0


@dataclass(slots=True)
class _Item:
    id: str
    payload: Mapping[str, Any]
    attempts: int = 0
    degrade: int = 0
    suspect: bool = False
    was_leased: bool = False
    lease: int | None = None
    killed: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Gang:
    ready: bool = False
    has_been_ready: bool = False
    held: bool = False
    given_up: bool = False
    is_final: bool = False
    completed_then: int = 0
    paroles: int = 0
    retired: bool = False
    deaths: int = 0
    setup_failures: int = 0
    failed_builds: int = 0
    build_at: float = 0.0
    leases: dict[int, Lease] = field(default_factory=dict)


class Scheduler:
    """The state of one run; `now` is any clock in seconds that never goes back."""

    def __init__(self, limits: Limits, num_gangs: int = 0) -> None:
        if num_gangs < 0:
            raise ValueError(f"num_gangs: got {num_gangs}, expected at least 0.")
        self.limits = limits
        self._gangs = [_Gang() for _ in range(num_gangs)]
        self._items: dict[str, _Item] = {}
        self._ready: deque[_Item] = deque()
        self._suspects: deque[_Item] = deque()
        self._delayed: list[tuple[float, int, _Item]] = []
        self._next_number = 0
        self._num_completed = 0
        self._closed = False
        self._draining = False

    # Questions

    @property
    def finished(self) -> bool:
        """Nothing is left to do: all items ended, or the run is drained."""
        if self._draining:
            return self.num_in_flight == 0
        return self.all_ended

    @property
    def all_ended(self) -> bool:
        """Every item there is has ended."""
        return self._closed and not self._items

    @property
    def draining(self) -> bool:
        return self._draining

    @property
    def num_live(self) -> int:
        """Items offered that have not ended."""
        return len(self._items)

    @property
    def num_in_flight(self) -> int:
        return sum(len(gang.leases) for gang in self._gangs)

    def leases(self, gang: int) -> list[Lease]:
        """What a gang holds, oldest first."""
        return list(self._gangs[gang].leases.values())

    def usable_gangs(self) -> list[int]:
        """The gangs that are neither given up nor retired."""
        return [index for index, gang in enumerate(self._gangs) if not _is_gone(gang)]

    def given_up_gangs(self) -> list[int]:
        """The gangs that failed too often in a row and are still part of the run."""
        return [i for i, gang in enumerate(self._gangs) if gang.given_up and not gang.retired]

    @property
    def is_hopeless(self) -> bool:
        """Every gang there is was given up, and nothing was completed since that speaks for one."""
        return (
            not self.usable_gangs()
            and bool(self.given_up_gangs())
            and not any(self._deserves_parole(gang) for gang in self._gangs)
        )

    def buildable_gangs(self, now: float) -> list[int]:
        """The usable gangs whose wait after a failed start is over."""
        return [
            index
            for index, gang in enumerate(self._gangs)
            if not _is_gone(gang) and gang.build_at <= now
        ]

    def room(self) -> int:
        """How many items may be offered now without holding more than the queue's capacity."""
        if self._closed or self._draining:
            return 0
        waiting = len(self._ready) + len(self._suspects) + len(self._delayed)
        return max(0, self.limits.queue_capacity - waiting)

    def next_wakeup(self) -> float | None:
        """When the next waiting retry or start of a gang falls due, or None."""
        due = [
            gang.build_at
            for gang in self._gangs
            if gang.build_at and (not _is_gone(gang) or self._deserves_parole(gang))
        ]
        if self._delayed:
            due.append(self._delayed[0][0])
        return min(due, default=None)

    # Events

    def offer(self, item_id: str, payload: Mapping[str, Any]) -> None:
        """Add an item. An id is offered once in the life of a scheduler."""
        if item_id in self._items:
            raise ValueError(f"item id: got '{item_id}' twice, expected every id once.")
        item = _Item(item_id, payload)
        self._items[item_id] = item
        self._ready.append(item)

    def close(self) -> None:
        """Say that no more items will be offered."""
        self._closed = True

    def drain(self) -> None:
        """Lease nothing more; what is in flight may end."""
        self._draining = True

    def add_gang(self) -> int:
        """The cluster has room for one gang more; returns its index, which is never used again."""
        self._gangs.append(_Gang())
        return len(self._gangs) - 1

    def hold(self, gang: int, is_held: bool = True) -> None:
        """Give a gang no further items, because its node will go; what it holds may end."""
        self._gangs[gang].held = is_held

    def retire(self, gang: int, failure: Failure, now: float) -> list[Decision]:
        """The cluster has no room for this gang any more; what it held goes back uncharged."""
        if POLICIES[failure.error_class].charged:
            raise ValueError(f"failure: got {failure.error_class}, expected a class without charge")
        decisions = [] if _is_gone(self._gangs[gang]) else self.gang_lost(gang, failure, now)
        self._gangs[gang].retired = True
        return decisions

    def pardon(self, now: float) -> None:
        """Give one more chance to gangs that were given up long enough ago.

        What killed them may be over, such as a machine that was out of memory, and a run of many
        hours must not end with the few gangs that never had bad luck.
        """
        for gang in self._gangs:
            if self._deserves_parole(gang) and gang.build_at <= now:
                gang.given_up = False
                gang.paroles += 1
                gang.deaths = self.limits.max_gang_deaths - 1
                gang.setup_failures = self._max_setup_failures(gang) - 1

    def gang_ready(self, gang: int) -> None:
        """A gang is built and set up."""
        state = self._gangs[gang]
        state.ready, state.has_been_ready, state.held = True, True, False
        state.setup_failures = state.failed_builds = 0
        state.build_at = 0.0

    def lease(self, gang: int, now: float) -> Lease | None:
        """Hand the gang its next item, or None if it should get none now."""
        state = self._gangs[gang]
        self._wake(now)
        if self._draining or not state.ready or state.held:
            return None
        if len(state.leases) >= self.limits.max_in_flight:
            return None
        if any(lease.exclusive for lease in state.leases.values()):
            return None
        if not state.leases and self._suspects:
            return self._hand_out(self._suspects.popleft(), gang)
        # The last items wait for whichever gang is free first, not behind a busy one.
        if not self._ready or (state.leases and len(self._ready) < self._num_takers()):
            return None
        return self._hand_out(self._ready.popleft(), gang)

    def completed(self, lease: Lease, record: Mapping[str, Any]) -> Decision:
        """The item of this lease is done, even if the lease is an old one: its output exists."""
        self._gangs[lease.gang].leases.pop(lease.number, None)
        item = self._items.get(lease.item_id)
        if item is None:
            return Stale(lease.item_id)
        self._end(item)
        self._num_completed += 1
        self._gangs[lease.gang].deaths = self._gangs[lease.gang].paroles = 0
        return Completed(item.id, lease.attempt, record)

    def failed(self, lease: Lease, failure: Failure, now: float) -> Decision:
        """This attempt failed, its gang lives on."""
        held = self._gangs[lease.gang].leases.pop(lease.number, None)
        item = self._items.get(lease.item_id)
        if held is None or item is None:
            return Stale(lease.item_id)
        return self._charge(item, failure, now)

    def gang_lost(
        self, gang: int, failure: Failure, now: float, started: Collection[str] = ()
    ) -> list[Decision]:
        """A gang died or was killed; what it held goes back or ends.

        Args:
            started: the items in its hands that it had begun to work on.
        """
        state = self._gangs[gang]
        was_ready, state.ready, state.held = state.ready, False, False
        leases = list(state.leases.values())
        state.leases.clear()
        items = [self._items[lease.item_id] for lease in leases if self._is_current(lease)]
        if POLICIES[failure.error_class].charged:
            state.deaths += was_ready
            state.setup_failures += not was_ready
            for item in items:
                item.killed.add(gang)
        if not was_ready:
            self._postpone_build(state, now)
        # Newest first, because what returns goes to the front and the oldest must lead.
        decisions = [
            _noting(self._after_death(item, failure, now, alone=len(leases) == 1), started)
            for item in reversed(items)
        ]
        is_final = not was_ready and _is_final(failure)
        if is_final or self._is_beyond_hope(state):
            self._give_up(state, now, is_final=is_final)
            decisions.append(GangRetired(gang, failure))
        return decisions

    # Inside

    def _hand_out(self, item: _Item, gang: int) -> Lease:
        self._next_number += 1
        item.lease = self._next_number
        lease = Lease(
            number=self._next_number,
            item_id=item.id,
            gang=gang,
            payload=item.payload,
            attempt=item.attempts + 1,
            degrade=item.degrade,
            exclusive=item.suspect,
            repeat=item.was_leased,
        )
        item.was_leased = True
        self._gangs[gang].leases[lease.number] = lease
        return lease

    def _num_takers(self) -> int:
        return sum(gang.ready and not gang.held for gang in self._gangs)

    def _postpone_build(self, state: _Gang, now: float) -> None:
        wait_s = min(self.limits.backoff_s * 2**state.failed_builds, self.limits.max_backoff_s)
        state.failed_builds += 1
        state.build_at = now + wait_s

    def _is_current(self, lease: Lease) -> bool:
        item = self._items.get(lease.item_id)
        return item is not None and item.lease == lease.number

    def _after_death(self, item: _Item, failure: Failure, now: float, *, alone: bool) -> Decision:
        policy = POLICIES[failure.error_class]
        if not policy.charged or alone:
            return self._charge(item, failure, now)
        item.suspect = True
        item.degrade += policy.degrade
        item.attempts = min(item.attempts + 1, self.limits.max_attempts - 1)
        return self._put_back(item, failure, now)

    def _charge(self, item: _Item, failure: Failure, now: float) -> Decision:
        policy = POLICIES[failure.error_class]
        if not policy.charged:
            return self._put_back(item, failure, now)
        item.attempts += 1
        item.degrade += policy.degrade
        if failure.error_class in (ErrorClass.RANK_DEATH, ErrorClass.HANG):
            item.suspect = True
        limit = self.limits.max_attempts
        if item.attempts >= min(limit, policy.max_attempts or limit):
            self._end(item)
            for gang in item.killed:  # it was the item, not they
                self._gangs[gang].deaths = 0
            return DeadLettered(item.id, item.attempts, failure)
        if policy.backoff:
            return self._postpone(item, failure, now)
        return self._put_back(item, failure, now)

    def _put_back(self, item: _Item, failure: Failure, now: float) -> Decision:
        item.lease = None
        if item.suspect:
            self._suspects.appendleft(item)
        elif POLICIES[failure.error_class].charged:
            self._ready.append(item)
        else:
            self._ready.appendleft(item)
        return Requeued(item.id, item.attempts, failure, now)

    def _postpone(self, item: _Item, failure: Failure, now: float) -> Decision:
        item.lease = None
        wait_s = min(self.limits.backoff_s * 2 ** (item.attempts - 1), self.limits.max_backoff_s)
        self._next_number += 1
        heapq.heappush(self._delayed, (now + wait_s, self._next_number, item))
        return Requeued(item.id, item.attempts, failure, now + wait_s)

    def _wake(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            _, _, item = heapq.heappop(self._delayed)
            (self._suspects if item.suspect else self._ready).append(item)

    def _end(self, item: _Item) -> None:
        del self._items[item.id]
        if item.lease is None:  # a late completion overtook the retry
            self._forget(item)

    def _forget(self, item: _Item) -> None:
        for queue in (self._ready, self._suspects):
            if item in queue:
                queue.remove(item)
        self._delayed = [entry for entry in self._delayed if entry[2] is not item]
        heapq.heapify(self._delayed)

    def _give_up(self, state: _Gang, now: float, *, is_final: bool) -> None:
        state.given_up, state.is_final = True, is_final
        state.completed_then = self._num_completed
        wait_s = min(self.limits.parole_s * 2**state.paroles, _MAX_PAROLE_S)
        state.build_at = now + wait_s

    def _deserves_parole(self, state: _Gang) -> bool:
        if not state.given_up or state.is_final or state.retired:
            return False
        return self._num_completed > state.completed_then

    def _is_beyond_hope(self, state: _Gang) -> bool:
        return (
            state.deaths >= self.limits.max_gang_deaths
            or state.setup_failures >= self._max_setup_failures(state)
        )

    def _max_setup_failures(self, state: _Gang) -> int:
        limits = self.limits
        return limits.max_gang_deaths if state.has_been_ready else limits.max_setup_failures


def _is_gone(gang: _Gang) -> bool:
    return gang.retired or gang.given_up


def _noting(decision: Decision, started: Collection[str]) -> Decision:
    if isinstance(decision, Requeued) and decision.item_id in started:
        return replace(decision, started=True)
    return decision


def _is_final(failure: Failure) -> bool:
    """A start that fails like this fails the same way every time."""
    return POLICIES[failure.error_class].max_attempts == 1
