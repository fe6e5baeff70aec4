from __future__ import annotations

import json

import pytest

from videogen.errors import OutputConflictError, StorageError
from videogen.storage import LocalStorage
from videogen_pipelines.results import RunCounts
from videogen_pipelines.sidecar import now
from videogen_pipelines.success import SUCCESS_KEY, Success, read_success, write_success


def success(done: int = 2, **fields: object) -> Success:
    values = {
        "rows": 3,
        "done": done,
        "failed": 3 - done,
        "manifest_digest": "m" * 64,
        "model_digest": "d" * 64,
        "invocation": 1,
        "created_at": now(),
        "files": {"errors.jsonl": "e" * 64},
    }
    return Success(**{**values, **fields})


def test_it_reads_back_and_says_how_much(storage: LocalStorage) -> None:
    assert read_success(storage) is None
    written = success()
    write_success(storage, written)
    assert read_success(storage) == written
    assert written.counts == RunCounts(rows=3, done=2, failed=1, pending=0)
    plain = json.loads(storage.read(SUCCESS_KEY))
    assert (plain["schema"], plain["rows"], plain["pending"]) == (1, 3, 0)


def test_declaring_the_same_again_changes_nothing(storage: LocalStorage) -> None:
    write_success(storage, success())
    before = storage.read(SUCCESS_KEY)
    write_success(storage, success(invocation=2, files={}))
    assert storage.read(SUCCESS_KEY) == before


@pytest.mark.parametrize("change", [{"done": 3}, {"manifest_digest": "n"}, {"model_digest": "n"}])
def test_declaring_something_else_is_a_conflict(
    storage: LocalStorage, change: dict[str, object]
) -> None:
    write_success(storage, success())
    before = storage.read(SUCCESS_KEY)
    with pytest.raises(OutputConflictError, match=r"2 done and 1 failed\).* Fix: "):
        write_success(storage, success(**change))
    assert storage.read(SUCCESS_KEY) == before


def test_a_run_with_pending_rows_cannot_be_declared() -> None:
    with pytest.raises(ValueError, match="pending"):
        success(pending=1)


def test_a_damaged_one_is_named(storage: LocalStorage) -> None:
    storage.put(SUCCESS_KEY, b"{}")
    with pytest.raises(StorageError, match=r"_SUCCESS: got rows: .* Fix: delete it"):
        read_success(storage)


def test_one_of_an_earlier_version_still_reads(storage: LocalStorage) -> None:
    old = json.loads(success().to_json())
    del old["files"]
    storage.put(SUCCESS_KEY, json.dumps(old).encode())
    found = read_success(storage)
    assert found is not None
    assert found.files == {}
