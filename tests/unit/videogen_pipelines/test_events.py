"""The event log: what is written is read again, once, in order, whatever the store did."""

from __future__ import annotations

import pytest

from videogen.errors import StorageError
from videogen.storage import LocalStorage
from videogen_pipelines.events import (
    MAX_BUFFERED,
    EventLog,
    EventTail,
    read_events,
    segment_key,
)


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


class Broken(LocalStorage):
    """Refuses so many creations."""

    refuse = 0

    def create(self, *args, **kwargs) -> bool:
        if self.refuse:
            self.refuse -= 1
            raise StorageError("no space")
        return super().create(*args, **kwargs)


def names(events) -> list[str]:
    return [event["event"] for event in events]


def test_events_come_back_in_order_with_their_fields(storage: LocalStorage):
    log = EventLog(storage, 3, Clock())
    log.add("gang_ready", gang="gang-0")
    log.add("clip_done", id="a", gang=None)
    log.flush()
    log.add("run_ended", state="complete")
    log.flush()
    log.flush()
    assert list(storage.list("events/")) == [segment_key(3, 0), segment_key(3, 1)]
    assert list(read_events(storage)) == [
        {"at": 1001.0, "event": "gang_ready", "gang": "gang-0"},
        {"at": 1002.0, "event": "clip_done", "id": "a"},
        {"at": 1003.0, "event": "run_ended", "state": "complete"},
    ]


def test_a_failed_write_loses_and_doubles_nothing(storage: LocalStorage):
    broken = Broken(storage.root)
    log = EventLog(broken, 1)
    log.add("one")
    broken.refuse = 1
    with pytest.raises(StorageError):
        log.flush()
    log.add("two")
    log.flush()
    assert names(read_events(storage)) == ["one", "two"]


def test_a_segment_of_somebody_else_is_left_alone(storage: LocalStorage):
    storage.create(segment_key(1, 0), b'{"at": 1, "event": "theirs"}\n')
    log = EventLog(storage, 1)
    log.add("ours")
    log.flush()
    assert names(read_events(storage)) == ["theirs", "ours"]


def test_a_store_that_is_away_for_long_costs_the_oldest_events(storage: LocalStorage):
    log = EventLog(storage, 1)
    for number in range(MAX_BUFFERED + 5):
        log.add("tick", number=number)
    log.flush()
    events = list(read_events(storage))
    assert (len(events), events[0]["number"]) == (MAX_BUFFERED, 5)


def test_the_last_events_are_read_from_the_end(
    storage: LocalStorage, caplog: pytest.LogCaptureFixture
):
    for epoch in (1, 2):
        log = EventLog(storage, epoch)
        for number in range(3):
            log.add("tick", number=10 * epoch + number)
            log.flush()
    storage.put(segment_key(1, 0), b"a line that whoever reads it complains about\n")
    assert [event["number"] for event in EventTail(storage).skip(4)] == [12, 20, 21, 22]
    assert caplog.text == ""
    assert [event["number"] for event in read_events(storage, 2)] == [20, 21, 22]


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\u0085"])
def test_signs_that_end_lines_elsewhere_are_part_of_a_message(storage: LocalStorage, sign: str):
    log = EventLog(storage, 1)
    log.add("clip_failed", message=f"one{sign}two")
    log.flush()
    assert [event["message"] for event in read_events(storage)] == [f"one{sign}two"]


def test_a_line_that_is_no_event_is_skipped(
    storage: LocalStorage, caplog: pytest.LogCaptureFixture
):
    storage.create(segment_key(1, 0), b'{"at": 1, "event": "good"}\n{"at": 2}\nbroken\n')
    assert names(read_events(storage)) == ["good"]
    assert "no event" in caplog.text


def test_a_tail_reads_what_is_new_and_changes_over_to_the_next_invocation(storage: LocalStorage):
    log = EventLog(storage, 1)
    for name in ("a", "b", "c"):
        log.add(name)
        log.flush()
    tail = EventTail(storage)
    assert names(tail.skip(2)) == ["b", "c"]
    assert tail.read(1) == []
    log.add("d")
    log.flush()
    assert names(tail.read(1)) == ["d"]
    later = EventLog(storage, 2)
    later.add("e")
    later.flush()
    assert tail.read(1) == []
    assert names(tail.read(2)) == ["e"]


def test_a_tail_begins_with_the_first_event_of_a_run_that_has_none(storage: LocalStorage):
    tail = EventTail(storage)
    assert tail.skip(5) == []
    assert tail.read(1) == []
    log = EventLog(storage, 1)
    log.add("first")
    log.flush()
    assert names(tail.read(1)) == ["first"]


def test_secrets_in_messages_are_hidden(storage: LocalStorage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    log = EventLog(storage, 1)
    log.add("clip_failed", message="refused wJalrXUtnFEMI at http://u:p@host/")
    log.flush()
    assert b"wJalrXUtnFEMI" not in storage.read(segment_key(1, 0))
    assert log.recent()[0]["message"] == "refused *** at http://***@host/"
