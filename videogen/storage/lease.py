"""A lock where no kernel keeps one: a small object that its holder renews and others watch.

Nobody compares clocks of two machines. The holder counts from when it sent its last renewal, the
others from when they first saw it, which is later: the holder gives up before they may take over.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from videogen.errors import StorageError
from videogen.storage.base import LockLostError
from videogen.storage.process import ProcessId

logger = logging.getLogger(__name__)

_SAFETY = 0.9  # of the time to live, after which a holder stops trusting its lease


class Stored(NamedTuple):
    """What the lease object holds, and a tag that changes with every write."""

    data: bytes
    tag: str


class LeaseStore(Protocol):
    """One object that can be replaced only by those who know what it holds."""

    conditional: bool

    def read(self) -> Stored | None: ...

    def write(self, data: bytes, expected: str | None, contended: bool) -> str | None: ...


@dataclass(frozen=True)
class LeaseTimes:
    """How long a silent holder keeps the lease, how often a living one renews it."""

    ttl_s: float = 20.0
    renew_s: float = 5.0


@dataclass(frozen=True)
class LeaseRecord:
    """What the object says. `renewals` makes every write of it differ from the one before."""

    token: str
    process: ProcessId
    since: str
    renewals: int = 0
    held: bool = True

    @property
    def owner(self) -> str:
        return f"process {self.process.pid} on {self.process.host} (since {self.since})"

    def to_bytes(self) -> bytes:
        return json.dumps({"schema": 1, **asdict(self)}, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> LeaseRecord | None:
        """The record in `data`; None if there is none in it."""
        try:
            fields: dict[str, Any] = json.loads(data)
            fields.pop("schema")
            process = ProcessId(**fields.pop("process"))
            return cls(process=process, **fields)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


def now_s() -> float:
    """Seconds of a clock that also runs while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """The state of one holder: pure but for the store and the clock, and used from two threads."""

    def __init__(
        self,
        store: LeaseStore,
        place: str,
        times: LeaseTimes,
        clock: Callable[[], float] = now_s,
        process: ProcessId | None = None,
    ) -> None:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        self._record = LeaseRecord(secrets.token_hex(8), process or ProcessId.current(), since)
        self._store = store
        self._place = place
        self._times = times
        self._clock = clock
        self._tag: str | None = None
        self._valid_until = float("-inf")
        self._lost = ""
        self._guard = threading.Lock()

    @property
    def owner(self) -> str:
        return self._record.owner

    def check(self) -> None:
        """Return while the lease is held.

        Raises:
            LockLostError: it is lost, for good.
        """
        with self._guard:
            if not self._lost and self._clock() >= self._valid_until:
                self._lost = "could not be renewed in time"
            if self._lost:
                raise LockLostError(
                    f"output {self._place}: got a lock that {self._lost}, expected to hold it "
                    f"until the end. Fix: check the network to the store, see that no other run "
                    "writes there, then run again; what is committed stays valid."
                )

    def try_to_take(self, found: Stored | None) -> bool:
        """Replace what was `found` by our own record; False if it changed in between."""
        sent_at = self._clock()
        record = replace(self._record, renewals=self._record.renewals + 1)
        tag = self._store.write(record.to_bytes(), found and found.tag, contended=True)
        if tag is None:
            return False
        self._renewed(record, tag, sent_at)
        return True

    def is_ours(self, record: LeaseRecord) -> bool:
        return record.token == self._record.token

    def renew(self) -> None:
        """Say that we live.

        Raises:
            LockLostError: somebody else holds the lease, or we were silent for too long.
            StorageError: the store failed; try again soon.
        """
        self.check()
        sent_at = self._clock()
        record = replace(self._record, renewals=self._record.renewals + 1)
        tag = self._store.write(record.to_bytes(), self._tag, contended=False)
        if tag is None:
            self._find_out()
        else:
            self._renewed(record, tag, sent_at)

    def release(self) -> None:
        """Mark the lease as free, unless it is somebody else's by now.

        Raises:
            StorageError: the store failed; the lease will lapse.
        """
        for _ in range(2):  # the second time after a renewal whose answer was lost
            free = replace(self._record, renewals=self._record.renewals + 1, held=False)
            if self._tag is None or self._store.write(free.to_bytes(), self._tag, contended=False):
                return
            self._tag = self._our_tag()

    def _renewed(self, record: LeaseRecord, tag: str, sent_at: float) -> None:
        with self._guard:
            self._record, self._tag = record, tag
            self._valid_until = sent_at + _SAFETY * self._times.ttl_s

    def _find_out(self) -> None:
        """After a refused renewal: ours whose answer was lost, or somebody else's lease."""
        tag = self._our_tag()
        with self._guard:
            if tag is None:
                self._lost = "somebody else has taken or removed"
            else:
                # Not longer valid than we know for sure; the next renewal follows at once.
                self._tag = tag
                self._record = replace(self._record, renewals=self._record.renewals + 1)
        if tag is None:
            self.check()
        raise StorageError(f"output {self._place}: an earlier renewal of the lock had gone through")

    def _our_tag(self) -> str | None:
        found = self._store.read()
        record = found and LeaseRecord.from_bytes(found.data)
        return found.tag if found and record and record.held and self.is_ours(record) else None


@contextmanager
def hold_lease(
    store: LeaseStore, place: str, times: LeaseTimes, *, wait: bool = True
) -> Iterator[Lease]:
    """Hold the lease while the context lasts; a thread renews it.

    Args:
        place: what it locks, for messages.
        wait: watch a silent holder until it renews or its time is over; False refuses at once.

    Raises:
        StorageError: somebody holds it, or the store failed.
    """
    if not store.conditional:
        logger.warning(
            "%s has no compare-and-swap: the lock is a best effort; start one run at a time", place
        )
    lease = Lease(store, place, times)
    _Watch(store, place, times, wait).acquire(lease)
    stopped = threading.Event()
    renewer = threading.Thread(
        target=_keep, args=(lease, times, stopped), name="videogen-lease", daemon=True
    )
    renewer.start()
    try:
        yield lease
    finally:
        stopped.set()
        renewer.join()
        _release(lease)


def _keep(lease: Lease, times: LeaseTimes, stopped: threading.Event) -> None:
    pause_s = times.renew_s
    while not stopped.wait(pause_s):
        try:
            lease.renew()
            pause_s = times.renew_s
        except LockLostError as error:
            logger.error("%s", error)
            return
        except StorageError as error:
            logger.info("%s", error)
            pause_s = times.renew_s / 5


def _release(lease: Lease) -> None:
    try:
        lease.release()
    except StorageError as error:
        logger.warning("the lock could not be freed and will lapse by itself: %s", error)


class _Watch:
    """Waits for a lease that is free, or whose holder has been silent for too long."""

    def __init__(self, store: LeaseStore, place: str, times: LeaseTimes, wait: bool) -> None:
        self._store = store
        self._place = place
        self._times = times
        self._wait = wait
        self._first: Stored | None = None
        self._first_seen_at = 0.0
        self._failing_since: float | None = None

    def acquire(self, lease: Lease) -> None:
        while True:
            try:
                if self._look(lease):
                    return
                self._failing_since = None
            except LockLostError:
                raise
            except _HeldError:
                raise
            except StorageError:
                self._failing_since = self._failing_since or now_s()
                if now_s() - self._failing_since > self._times.ttl_s:
                    raise
            time.sleep(min(1.0, self._times.renew_s / 5))

    def _look(self, lease: Lease) -> bool:
        """One look; True when the lease is ours."""
        found = self._store.read()
        record = LeaseRecord.from_bytes(found.data) if found else None
        if found is None or (record and (not record.held or lease.is_ours(record))):
            return lease.try_to_take(found)
        owner = record.owner if record else "somebody"
        if record and record.process.is_surely_dead():
            logger.warning("%s: taking over from %s, which is dead", self._place, owner)
            return lease.try_to_take(found)
        if not self._wait or (self._first and found.tag != self._first.tag):
            raise _held(self._place, owner)
        if self._first is None:
            self._first, self._first_seen_at = found, now_s()
            logger.warning(
                "%s: waiting up to %.0f s to see whether %s still lives",
                self._place,
                self._times.ttl_s,
                owner,
            )
        if now_s() - self._first_seen_at < self._times.ttl_s:
            return False
        logger.warning(
            "%s: taking over from %s, silent for %.0f s", self._place, owner, self._times.ttl_s
        )
        return lease.try_to_take(found)


class _HeldError(StorageError):
    """Somebody else holds the lease."""


def _held(place: str, owner: str) -> StorageError:
    return _HeldError(
        f"output {place}: got one that {owner} is writing to, expected a free one. "
        "Fix: wait for that run, stop it, or choose another output."
    )
