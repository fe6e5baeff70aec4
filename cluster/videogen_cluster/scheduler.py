"""Which item runs where, how often, and how it ends: a state machine without Ray or a clock.

Events go in (`offer`, `gang_ready`, `completed`, `failed`, `gang_lost`, `drain`, and as the cluster
grows and shrinks `add_gang`, `hold`, `retire`), decisions come out. Every item ends exactly once,
as `Completed` or `DeadLettered`, unless the run is drained first; then it is simply still missing
and the next run makes it.

An item whose gang died while another item was in flight there is a *suspect*: nobody knows which
of the two did it. It costs both an attempt, but never the last one, and each then runs alone, so
a poison item cannot take an innocent one into the dead letter.

An item that failed on a gang is tried on another one, if there is one, so that no gang alone can
end it. A gang that fails whatever it is given is *sick* (see `standing`); the driver asks `is_sick`
after each failure, and has it replaced.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from videogen_cluster.failures import POLICIES, ErrorClass, Failure
from videogen_cluster.lease import Lease
from videogen_cluster.limits import Limits
from videogen_cluster.standing import Standing


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


@dataclass(slots=True, eq=False)
class _Item:
    id: str
    payload: Mapping[str, Any]
    attempts: int = 0
    degrade: int = 0
    suspect: bool = False
    was_leased: bool = False
    lease: int | None = None
    failed_on: set[int] = field(default_factory=set)


class Scheduler:
    """The state of one run; `now` is any clock in seconds that never goes back."""

    def __init__(self, limits: Limits, num_gangs: int = 0) -> None:
        if num_gangs < 0:
            raise ValueError(f"num_gangs: got {num_gangs}, expected at least 0.")
        self.limits = limits
        self._gangs = [Standing(limits) for _ in range(num_gangs)]
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
        return [index for index, gang in enumerate(self._gangs) if not gang.is_gone]

    def given_up_gangs(self) -> list[int]:
        """The gangs that failed too often in a row and are still part of the run."""
        return [i for i, gang in enumerate(self._gangs) if gang.given_up and not gang.retired]

    @property
    def is_hopeless(self) -> bool:
        """Every gang there is was given up, and nothing was completed since that speaks for one."""
        return (
            not self.usable_gangs()
            and bool(self.given_up_gangs())
            and not any(gang.deserves_parole(self._num_completed) for gang in self._gangs)
        )

    def buildable_gangs(self, now: float) -> list[int]:
        """The usable gangs whose wait after a failed start is over."""
        return [
            index
            for index, gang in enumerate(self._gangs)
            if not gang.is_gone and gang.build_at <= now
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
            if gang.build_at and (not gang.is_gone or gang.deserves_parole(self._num_completed))
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
        self._gangs.append(Standing(self.limits))
        return len(self._gangs) - 1

    def hold(self, gang: int, is_held: bool = True) -> None:
        """Give a gang no further items, because its node will go; what it holds may end."""
        self._gangs[gang].held = is_held

    def retire(self, gang: int, failure: Failure, now: float) -> list[Decision]:
        """The cluster has no room for this gang any more; what it held goes back uncharged."""
        if POLICIES[failure.error_class].charged:
            raise ValueError(f"failure: got {failure.error_class}, expected a class without charge")
        decisions = [] if self._gangs[gang].is_gone else self.gang_lost(gang, failure, now)
        self._gangs[gang].retired = True
        return decisions

    def pardon(self, now: float) -> None:
        """Give one more chance to gangs that were given up long enough ago.

        What killed them may be over, such as a machine that was out of memory, and a run of many
        hours must not end with the few gangs that never had bad luck.
        """
        for gang in self._gangs:
            if gang.deserves_parole(self._num_completed) and gang.build_at <= now:
                gang.pardon()

    def gang_ready(self, gang: int) -> None:
        """A gang is built and set up."""
        self._gangs[gang].start()

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
        if not state.is_trusted(self._num_completed) and gang not in self._takers():
            return None
        if suspect := self._first_for(gang, self._suspects):
            # It runs alone, so busy gangs take nothing more until one of them is free for it.
            return None if state.leases else self._hand_out(suspect, self._suspects, gang)
        # The last items wait for whichever gang is free first, not behind a busy one.
        if self._closed and state.leases and len(self._ready) < len(self._takers()):
            return None
        item = self._first_for(gang, self._ready)
        return self._hand_out(item, self._ready, gang) if item else None

    def completed(self, lease: Lease, record: Mapping[str, Any]) -> Decision:
        """The item of this lease is done, even if the lease is an old one: its output exists."""
        self._gangs[lease.gang].leases.pop(lease.number, None)
        item = self._items.get(lease.item_id)
        if item is None:
            return Stale(lease.item_id)
        self._end(item)
        self._num_completed += 1
        self._gangs[lease.gang].complete()
        return Completed(item.id, lease.attempt, record)

    def failed(self, lease: Lease, failure: Failure, now: float) -> Decision:
        """This attempt failed, its gang lives on."""
        held = self._gangs[lease.gang].leases.pop(lease.number, None)
        item = self._items.get(lease.item_id)
        if held is None or item is None:
            return Stale(lease.item_id)
        if _may_be_its_gang(lease, failure):
            item.failed_on.add(lease.gang)
            self._gangs[lease.gang].fail(self._num_completed)
        return self._charge(item, failure, now)

    def is_sick(self, gang: int) -> bool:
        """Whether the gang has failed so often in a row that it has to be lost and built anew."""
        return self._gangs[gang].is_sick

    def gang_lost(
        self, gang: int, failure: Failure, now: float, started: Collection[str] = ()
    ) -> list[Decision]:
        """A gang died or was killed; what it held goes back or ends.

        Args:
            started: the items in its hands that it had begun to work on.
        """
        state = self._gangs[gang]
        was_ready = state.ready
        leases = list(state.leases.values())
        state.leases.clear()
        items = [self._items[lease.item_id] for lease in leases if self._is_current(lease)]
        charged = POLICIES[failure.error_class].charged
        state.end(now, self._num_completed, charged=charged)
        for item in items if charged else ():
            item.failed_on.add(gang)
        # Newest first, because what returns goes to the front and the oldest must lead.
        decisions = [
            _noting(self._after_death(item, failure, now, alone=len(leases) == 1), started)
            for item in reversed(items)
        ]
        is_final = not was_ready and _is_final(failure)
        if is_final or state.is_beyond_hope:
            state.give_up(now, self._num_completed, is_final=is_final)
            decisions.append(GangRetired(gang, failure))
        return decisions

    # Inside

    def _hand_out(self, item: _Item, queue: deque[_Item], gang: int) -> Lease:
        queue.remove(item)
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

    def _takers(self) -> set[int]:
        """The gangs that items go to: those that are trusted, or all if none is."""
        up = {i for i, gang in enumerate(self._gangs) if gang.ready and not gang.held}
        return {i for i in up if self._gangs[i].is_trusted(self._num_completed)} or up

    def _first_for(self, gang: int, queue: Iterable[_Item]) -> _Item | None:
        """The first item that has not failed on this gang, or has failed on all takers."""
        for item in queue:
            if gang not in item.failed_on or self._takers() <= item.failed_on:
                return item
        return None

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
            self._absolve(item)
            return DeadLettered(item.id, item.attempts, failure)
        if policy.backoff:
            return self._postpone(item, failure, now)
        return self._put_back(item, failure, now)

    def _absolve(self, item: _Item) -> None:
        """It was the item, not the gangs; of several gangs, one alone may be to blame itself."""
        num_able = sum(gang.has_been_ready and not gang.is_gone for gang in self._gangs)
        if len(item.failed_on) > 1 or num_able == 1:
            for gang in item.failed_on:
                self._gangs[gang].deaths = 0

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


def _may_be_its_gang(lease: Lease, failure: Failure) -> bool:
    policy = POLICIES[failure.error_class]
    is_first_to_degrade = policy.degrade and not lease.degrade  # it may just want too much
    return policy.charged and not policy.items_own and not is_first_to_degrade


def _noting(decision: Decision, started: Collection[str]) -> Decision:
    if isinstance(decision, Requeued) and decision.item_id in started:
        return replace(decision, started=True)
    return decision


def _is_final(failure: Failure) -> bool:
    """A start that fails like this fails the same way every time."""
    return POLICIES[failure.error_class].max_attempts == 1
