"""The event log of a run: JSON lines in create-only segments, `events/{epoch}/{seq}.jsonl`.

An epoch is one invocation of a run, so whoever reads knows which one an event belongs to.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from videogen.errors import StorageError
from videogen.storage import MissingKeyError, Storage
from videogen_pipelines.redact import redact

logger = logging.getLogger(__name__)

EVENTS_PREFIX = "events/"
RECENT = 20
MAX_BUFFERED = 100_000  # half an hour of a fast run whose storage is away
_SEGMENT = re.compile(r"events/(\d{6,})/(\d{8,})\.jsonl")

Event = dict[str, Any]


def gang_name(gang: int) -> str:
    """How records, events and the status call a gang."""
    return f"gang-{gang}"


class EventLog:
    """Buffers events and writes them as segments of one epoch. Any thread may add or flush.

    Args:
        storage: the run directory.
        epoch: the number of this invocation.
        clock: seconds since 1970.
    """

    def __init__(
        self, storage: Storage, epoch: int, clock: Callable[[], float] = time.time
    ) -> None:
        self.storage = storage
        self.epoch = epoch
        self._clock = clock
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._lines: deque[str] = deque(maxlen=MAX_BUFFERED)
        self._recent: deque[Event] = deque(maxlen=RECENT)
        self._sequence = 0

    def add(self, event: str, **fields: Any) -> None:
        """Note that something happened now; fields that are None are left out."""
        said = {name: value for name, value in fields.items() if value is not None}
        record: Event = {"at": round(self._clock(), 3), "event": event, **said}
        if isinstance(record.get("message"), str):
            record["message"] = redact(record["message"])
        line = json.dumps(record, ensure_ascii=False, default=str)
        with self._lock:
            self._lines.append(line)
            self._recent.append(record)

    def recent(self) -> list[Event]:
        """The last events, oldest first."""
        with self._lock:
            return list(self._recent)

    def flush(self) -> None:
        """Write what is buffered.

        Raises:
            StorageError: the segment could not be written; its events stay buffered.
        """
        with self._writing:
            with self._lock:
                lines, self._lines = self._lines, deque(maxlen=MAX_BUFFERED)
            if not lines:
                return
            try:
                self._write("".join(f"{line}\n" for line in lines).encode())
            except StorageError:
                with self._lock:
                    self._lines.extendleft(reversed(lines))
                raise

    def _write(self, data: bytes) -> None:
        while not self.storage.create(segment_key(self.epoch, self._sequence), data):
            self._sequence += 1  # somebody of the same number wrote here before
        self._sequence += 1


def segment_key(epoch: int, sequence: int) -> str:
    return f"{EVENTS_PREFIX}{epoch:06d}/{sequence:08d}.jsonl"


def read_events(storage: Storage, epoch: int | None = None) -> Iterator[Event]:
    """All events, oldest first; of one invocation if `epoch` is given.

    A line that is no event is skipped with a warning.

    Raises:
        StorageError: the storage failed.
    """
    for key in sorted(_segments(storage, epoch)):
        yield from _events(storage, key)


class EventTail:
    """Reads on where it stopped, without listing again what it has read."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._last: tuple[int, int] | None = None

    def skip(self, count: int) -> list[Event]:
        """Jump to the end; returns the last `count` events, reading no more than that takes."""
        keys = sorted(_segments(self._storage))
        if keys:
            self._last = _numbers(keys[-1])
        events: list[Event] = []
        for key in reversed(keys):
            if len(events) >= count:
                break
            events = [*_events(self._storage, key), *events]
        return events[-count:] if count else []

    def read(self, epoch: int | None = None) -> list[Event]:
        """What was written since the last call.

        Args:
            epoch: the invocation that runs now, to change over to it when it began.
        """
        found: list[Event] = []
        while True:
            start, sequence = self._last or (epoch or 1, -1)
            try:
                found += _events(self._storage, segment_key(start, sequence + 1))
            except MissingKeyError:
                if epoch is None or epoch <= start:
                    return found
                self._last = (epoch, -1)
            else:
                self._last = (start, sequence + 1)


def _segments(storage: Storage, epoch: int | None = None) -> Iterator[str]:
    prefix = EVENTS_PREFIX if epoch is None else f"{EVENTS_PREFIX}{epoch:06d}/"
    return (key for key in storage.list(prefix) if _SEGMENT.fullmatch(key))


def _numbers(key: str) -> tuple[int, int]:
    _, epoch, name = key.split("/")
    return int(epoch), int(name.removesuffix(".jsonl"))


def _events(storage: Storage, key: str) -> list[Event]:
    found = []
    # Not at every sign that Unicode calls the end of a line: messages may hold these.
    for line in filter(None, storage.read(key).decode(errors="replace").split("\n")):
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if isinstance(event, dict) and "event" in event and "at" in event:
            found.append(event)
        else:
            logger.warning("%s/%s holds a line that is no event", storage.uri, key)
    return found
