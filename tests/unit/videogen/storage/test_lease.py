"""The lease over a store in memory and a clock that tests turn."""

from __future__ import annotations

import itertools
import threading

import pytest

from videogen.errors import StorageError
from videogen.storage import LockLostError
from videogen.storage.lease import Lease, LeaseRecord, LeaseTimes, Stored, hold_lease
from videogen.storage.process import ProcessId

TIMES = LeaseTimes(ttl_s=20, renew_s=5)
QUICK = LeaseTimes(ttl_s=1.2, renew_s=0.1)
ELSEWHERE = ProcessId("far-away", 7)


class MemoryStore:
    """What a store with compare-and-swap does; can fail before or after it did it."""

    conditional = True

    def __init__(self) -> None:
        self.stored: Stored | None = None
        self.fails: list[str] = []
        self._tags = itertools.count()
        self._lock = threading.Lock()

    def read(self) -> Stored | None:
        if self.fails and self.fails[0] == "cut":
            raise StorageError("the network is gone")
        return self.stored

    def write(self, data: bytes, expected: str | None, contended: bool) -> str | None:
        fault = self.fails[0] if self.fails else ""
        if self.fails and fault != "cut":
            self.fails.pop(0)
        if fault in ("cut", "lost request"):
            raise StorageError("the network is gone")
        with self._lock:
            if (self.stored and self.stored.tag) != expected:
                return None
            self.stored = Stored(data, f"tag-{next(self._tags)}")
        if fault == "lost answer":
            raise StorageError("the network is gone")
        return self.stored.tag

    @property
    def record(self) -> LeaseRecord:
        assert self.stored
        record = LeaseRecord.from_bytes(self.stored.data)
        assert record
        return record


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def taken(store: MemoryStore, clock: Clock) -> Lease:
    lease = Lease(store, "s3://b/out", TIMES, clock)
    assert lease.try_to_take(None)
    return lease


def test_a_renewal_extends_what_time_takes_away(store: MemoryStore, clock: Clock) -> None:
    lease = taken(store, clock)
    for _ in range(10):
        clock.now += 15
        lease.check()
        lease.renew()
    assert store.record.renewals == 11


def test_a_holder_that_cannot_renew_gives_up_before_others_may_take_over(
    store: MemoryStore, clock: Clock
) -> None:
    lease = taken(store, clock)
    store.fails = ["cut"]
    for _ in range(17):
        clock.now += 1
        lease.check()
        with pytest.raises(StorageError):
            lease.renew()
    clock.now += 1
    with pytest.raises(LockLostError, match=r"could not be renewed in time.* Fix: "):
        lease.check()
    assert clock.now < 100 + TIMES.ttl_s
    store.fails = []
    with pytest.raises(LockLostError):  # for good
        lease.renew()


def test_the_time_counts_from_before_the_request(store: MemoryStore, clock: Clock) -> None:
    lease = Lease(store, "out", TIMES, clock)
    write = store.write

    def slow_write(data: bytes, expected: str | None, contended: bool) -> str | None:
        tag = write(data, expected, contended)
        clock.now += 15
        return tag

    store.write = slow_write
    assert lease.try_to_take(None)
    clock.now += 4
    with pytest.raises(LockLostError):
        lease.check()


def test_a_renewal_whose_answer_was_lost_is_found_again(store: MemoryStore, clock: Clock) -> None:
    lease = taken(store, clock)
    store.fails = ["lost answer"]
    for _ in range(2):  # lost; then refused, because the first had gone through
        with pytest.raises(StorageError) as caught:
            lease.renew()
        assert not isinstance(caught.value, LockLostError)
    lease.renew()
    clock.now += 17
    lease.check()
    lease.release()
    assert not store.record.held


def test_a_holder_that_was_replaced_knows_at_its_next_renewal(
    store: MemoryStore, clock: Clock
) -> None:
    lease = taken(store, clock)
    other = Lease(store, "out", TIMES, clock, ELSEWHERE)
    assert other.try_to_take(store.stored)
    with pytest.raises(LockLostError, match="somebody else"):
        lease.renew()
    with pytest.raises(LockLostError):
        lease.check()
    lease.release()
    assert store.record.held
    assert store.record.process == ELSEWHERE


def test_a_lease_that_was_removed_is_lost(store: MemoryStore, clock: Clock) -> None:
    lease = taken(store, clock)
    store.stored = None
    with pytest.raises(LockLostError):
        lease.renew()


def test_of_two_that_take_it_at_once_one_does(store: MemoryStore, clock: Clock) -> None:
    found = store.read()
    assert Lease(store, "out", TIMES, clock).try_to_take(found)
    assert not Lease(store, "out", TIMES, clock).try_to_take(found)


def test_a_living_holder_is_named_and_keeps_it(store: MemoryStore) -> None:
    with hold_lease(store, "s3://b/out", QUICK) as lease:
        with (
            pytest.raises(StorageError, match=r"output s3://b/out: got one that process \d+ on "),
            hold_lease(store, "s3://b/out", QUICK),
        ):
            pass
        lease.check()
    assert not store.record.held


def test_a_released_lease_is_free_at_once(store: MemoryStore) -> None:
    slow = LeaseTimes(ttl_s=60, renew_s=30)
    for _ in range(3):
        with hold_lease(store, "out", slow):
            assert store.record.held


def test_an_error_inside_frees_it(store: MemoryStore) -> None:
    with pytest.raises(ZeroDivisionError), hold_lease(store, "out", QUICK):
        raise ZeroDivisionError
    assert not store.record.held


def silent_holder(store: MemoryStore, process: ProcessId = ELSEWHERE) -> None:
    assert Lease(store, "out", QUICK, process=process).try_to_take(store.stored)


def test_a_silent_holder_is_replaced_after_its_time(store: MemoryStore) -> None:
    from time import monotonic

    silent_holder(store)
    started = monotonic()
    with hold_lease(store, "out", QUICK) as lease:
        assert QUICK.ttl_s <= monotonic() - started < 10 * QUICK.ttl_s
        lease.check()
        assert store.record.process == ProcessId.current()


def test_without_waiting_a_silent_holder_is_refused(store: MemoryStore) -> None:
    silent_holder(store)
    with pytest.raises(StorageError, match="far-away"), hold_lease(store, "o", QUICK, wait=False):
        pass


def test_a_holder_that_died_on_this_machine_is_replaced_at_once(store: MemoryStore) -> None:
    here = ProcessId.current()
    silent_holder(store, ProcessId(here.host, here.pid, here.machine, "1"))
    slow = LeaseTimes(ttl_s=60, renew_s=1)
    with hold_lease(store, "out", slow, wait=False) as lease:
        lease.check()


def test_a_record_that_nobody_can_read_is_a_silent_holder(store: MemoryStore) -> None:
    store.stored = Stored(b"{]", "x")
    with hold_lease(store, "out", QUICK):
        assert store.record.held


def test_a_bad_moment_while_taking_or_holding_is_survived(store: MemoryStore) -> None:
    store.fails = ["lost request", "lost answer"]
    with hold_lease(store, "out", QUICK) as lease:
        store.fails = ["lost request", "lost answer", "lost request"]
        threading.Event().wait(1.5 * QUICK.ttl_s)
        assert store.fails == []
        lease.check()
    assert not store.record.held


def test_a_store_that_stays_away_is_an_error(store: MemoryStore) -> None:
    store.fails = ["cut"]
    with pytest.raises(StorageError, match="network"), hold_lease(store, "out", QUICK):
        pass


def test_a_store_without_compare_and_swap_is_warned_about(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.conditional = False
    with caplog.at_level("WARNING"), hold_lease(store, "s3://b/out", QUICK):
        assert "s3://b/out has no compare-and-swap" in caplog.text
