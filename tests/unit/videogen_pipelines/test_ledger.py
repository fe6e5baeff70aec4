from __future__ import annotations

import gzip
import json
import logging
from typing import Any

import pytest

from videogen.errors import StorageError
from videogen.storage import LocalStorage
from videogen_pipelines.ledger import LedgerWriter, next_epoch, read_done, read_ledger


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def record(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "clip_id": f"clip of {name}", "state": "done", **fields}


def segment(storage: LocalStorage, key: str) -> list[Any]:
    return [json.loads(line) for line in gzip.decompress(storage.read(key)).splitlines()]


def test_a_segment_is_written_when_it_is_full(storage: LocalStorage) -> None:
    writer = LedgerWriter(storage, epoch=3, max_records=2)
    for name in "abcde":
        writer.append(record(name))
    assert list(storage.list()) == [
        "ledger/000003/00000000.jsonl.gz",
        "ledger/000003/00000001.jsonl.gz",
    ]
    writer.flush()
    writer.flush()
    *_, last = storage.list()
    assert last == "ledger/000003/00000002.jsonl.gz"
    assert segment(storage, last) == [record("e")]
    assert read_done(storage) == {name: f"clip of {name}" for name in "abcde"}


def test_a_segment_is_written_when_it_is_old(storage: LocalStorage) -> None:
    clock = Clock()
    writer = LedgerWriter(storage, epoch=1, max_age_s=10, clock=clock)
    clock.now = 100.0
    writer.append(record("a"))
    clock.now = 109.9
    writer.tick()
    assert list(storage.list()) == []
    clock.now = 110.0
    writer.tick()
    assert len(list(storage.list())) == 1
    clock.now = 200.0
    writer.tick()
    assert len(list(storage.list())) == 1


def test_epochs_follow_each_other(storage: LocalStorage) -> None:
    assert next_epoch(storage) == 1
    LedgerWriter(storage, 1).flush()
    assert next_epoch(storage) == 1
    for epoch in (1, 9, 10):
        writer = LedgerWriter(storage, epoch)
        writer.append(record("a", clip_id=f"made in {epoch}"))
        writer.flush()
    storage.create("ledger/notes.txt", b"")
    storage.create("ledger/000099/notes.jsonl.gz", b"")
    assert next_epoch(storage) == 11
    assert read_done(storage) == {"a": "made in 10"}


def test_many_segments_come_back_in_order(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("videogen_pipelines.ledger._BATCH", 4)
    writer = LedgerWriter(storage, 1, max_records=1)
    for number in range(11):
        writer.append(record(f"clip-{number}"))
    assert read_ledger(storage)["id"].to_pylist() == [f"clip-{number}" for number in range(11)]


def test_records_come_back_typed_and_in_order(storage: LocalStorage) -> None:
    writer = LedgerWriter(storage, 1)
    writer.append(record("a", bytes=2**40, duration_s=1, warnings=["slow"], attempts=2))
    writer.append({"id": "b", "state": "failed", "error_class": "oom", "error_message": "é\n\"'"})
    writer.flush()
    first, second = read_ledger(storage).to_pylist()
    assert first["bytes"] == 2**40
    assert first["duration_s"] == 1.0
    assert first["warnings"] == ["slow"]
    assert first["epoch"] == 1
    assert second["error_message"] == "é\n\"'"
    assert second["clip_id"] is None
    assert read_done(storage) == {"a": "clip of a"}


def test_an_empty_ledger(storage: LocalStorage) -> None:
    table = read_ledger(storage)
    assert len(table) == 0
    assert "error_class" in table.schema.names
    assert read_done(storage) == {}


def test_a_reader_may_start_at_a_later_epoch(storage: LocalStorage) -> None:
    for epoch in (1, 2):
        writer = LedgerWriter(storage, epoch)
        writer.append(record(f"of-{epoch}"))
        writer.flush()
    assert read_ledger(storage, first_epoch=2)["id"].to_pylist() == ["of-2"]


GOOD = gzip.compress(b'{"id":"b","clip_id":"x","state":"done"}\n')
TORN = {
    "empty": b"",
    "cut short": GOOD[:-9],
    "no gzip": b'{"id":"b"}',
    "flipped bit": GOOD[:-10] + bytes([GOOD[-10] ^ 1]) + GOOD[-9:],
    "no json": gzip.compress(b"{"),
    "wrong type": gzip.compress(b'{"id":"b","clip_id":1,"state":"done"}\n'),
    "no id": gzip.compress(b'{"clip_id":"x","state":"done"}\n'),
    "no lines": gzip.compress(b""),
}


@pytest.mark.parametrize("content", TORN.values(), ids=TORN.keys())
def test_a_torn_segment_is_skipped_with_a_warning(
    storage: LocalStorage, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    key = "ledger/000001/00000000.jsonl.gz"
    storage.create(key, content)
    storage.create(
        "ledger/000001/00000001.jsonl.gz", gzip.compress(json.dumps(record("a")).encode())
    )
    with caplog.at_level(logging.WARNING):
        assert read_done(storage) == {"a": "clip of a"}
    assert f"{key} is damaged and is ignored" in caplog.text


def test_an_unknown_field_of_a_later_version_does_no_harm(storage: LocalStorage) -> None:
    writer = LedgerWriter(storage, 1)
    writer.append(record("a", later={"new": 1}))
    writer.flush()
    assert read_done(storage) == {"a": "clip of a"}


def test_what_could_not_be_written_stays_buffered(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = LedgerWriter(storage, 1, max_records=2)
    writer.append(record("a"))

    def fail(key: str, data: bytes, metadata: Any = None) -> bool:
        raise StorageError("disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "create", fail)
        with pytest.raises(StorageError, match="disk is full"):
            writer.append(record("b"))
    writer.flush()
    assert sorted(read_done(storage)) == ["a", "b"]


def test_a_write_whose_answer_was_lost_is_recognised(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = LedgerWriter(storage, 1)
    writer.append(record("a"))
    create = storage.create

    def answer_lost(key: str, data: bytes, metadata: Any = None) -> bool:
        create(key, data, metadata)
        return False

    monkeypatch.setattr(storage, "create", answer_lost)
    writer.flush()
    assert read_done(storage) == {"a": "clip of a"}


def test_of_two_writers_in_one_epoch_neither_loses_a_record(storage: LocalStorage) -> None:
    ours, theirs = LedgerWriter(storage, 1), LedgerWriter(storage, 1)
    for number in range(3):
        ours.append(record(f"ours-{number}"))
        theirs.append(record(f"theirs-{number}"))
        theirs.flush()
        ours.flush()
    assert len(list(storage.list("ledger/"))) == 6
    assert len(read_ledger(storage)) == 6
    assert set(read_done(storage)) == {f"{who}-{n}" for who in ("ours", "theirs") for n in range(3)}


def test_nothing_is_written_behind_the_fence(storage: LocalStorage) -> None:
    def fence() -> None:
        raise StorageError("not ours any more")

    writer = LedgerWriter(storage, 1, fence=fence)
    writer.append(record("a"))
    with pytest.raises(StorageError, match="not ours"):
        writer.flush()
    assert list(storage.list()) == []
    assert writer.drop() == 1
    writer.flush()
    assert list(storage.list()) == []


def test_segments_of_an_earlier_version_still_read(storage: LocalStorage) -> None:
    old = {"id": "a", "clip_id": "x", "state": "done", "bytes": 3, "node": "n"}
    storage.create("ledger/000001/00000000.jsonl.gz", gzip.compress(json.dumps(old).encode()))
    (row,) = read_ledger(storage).to_pylist()
    assert (row["bytes"], row["key"], row["gpu_s"], row["gang"]) == (3, None, None, None)
