from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from videogen.storage import LocalStorage
from videogen_pipelines.commit import commit_clip, store_attempt
from videogen_pipelines.keys import clip_key, meta_key
from videogen_pipelines.ledger import LedgerWriter
from videogen_pipelines.results import (
    SCHEMA,
    Outcomes,
    ResultRow,
    ResultsWriter,
    RunCounts,
    read_outcomes,
    read_result_rows,
    results_table,
)
from videogen_pipelines.sidecar import read_sidecar

LONG: dict[str, Any] = {
    "prompt": "a red circle",
    "prompts": [
        {"at_s": 0.0, "prompt": "a red circle"},
        {"at_s": 1.5, "prompt": "a blue one, é"},
    ],
    "image": "/pictures/a.png",
    "image_sha256": "ab" * 32,
    "extension": "overlap",
    "chunk_frames": 33,
    "context_frames": 4,
    "context_noise": 0.1,
    "context_guidance": 2.0,
    "async_steps": 2,
    "anchor": 0.5,
    "loop": True,
    "metadata": {"topic": "é", "shares": [0.1, None]},
}


def done(storage: LocalStorage, clips: Any, name: str, epoch: int = 1, **fields: Any) -> ResultRow:
    provenance = clips.provenance(name, **fields)
    result = commit_clip(storage, clips.file(provenance), provenance, clips.inspect)
    write(storage, epoch, result.outcome())
    return ResultRow(name, provenance.clip_id, provenance.request)


def failed(
    storage: LocalStorage, clips: Any, name: str, epoch: int = 1, **fields: Any
) -> ResultRow:
    write(
        storage,
        epoch,
        {"id": name, "state": "failed", "error_class": "oom", "attempts": 3, **fields},
    )
    return planned(clips, name)


def planned(clips: Any, name: str) -> ResultRow:
    provenance = clips.provenance(name)
    return ResultRow(name, provenance.clip_id, provenance.request)


def write(storage: LocalStorage, epoch: int, record: dict[str, Any]) -> None:
    writer = LedgerWriter(storage, epoch)
    writer._sequence = len(list(storage.list(f"ledger/{epoch:06d}/")))
    writer.append(record)
    writer.flush()


def states(storage: LocalStorage, rows: list[ResultRow], epoch: int = 1) -> list[str | None]:
    return results_table(rows, Outcomes(storage, epoch))["state"].to_pylist()


def parts(storage: LocalStorage) -> dict[str, pa.Table]:
    return {
        key: pq.read_table(io.BytesIO(storage.read(key))) for key in storage.list("results/part-")
    }


def test_a_row_tells_what_was_asked_for_and_what_came_of_it(
    storage: LocalStorage, clips: Any
) -> None:
    row = done(storage, clips, "a", seed=2**63 - 1, metadata={"topic": "é"})
    ResultsWriter(storage, Outcomes(storage, 1)).write([row])
    (table,) = parts(storage).values()
    assert table.schema.equals(SCHEMA)
    (found,) = table.to_pylist()
    sidecar = read_sidecar(storage, "a")
    assert found["state"] == "done"
    assert found["clip_id"] == row.clip_id
    assert found["prompt"] == "prompt of a"
    assert found["seed"] == 2**63 - 1
    assert (found["num_frames"], found["height"], found["width"], found["fps"]) == (5, 16, 24, 8.0)
    assert found["guidance_interval"] == [0.0, 1.0]
    assert json.loads(found["metadata"]) == {"topic": "é"}
    assert found["key"] == clip_key("a")
    assert found["sha256"] == sidecar.sha256
    assert found["bytes"] == sidecar.bytes
    assert found["duration_s"] == 5 / 8
    assert (found["denoise_s"], found["decode_s"], found["encode_s"]) == (2.0, 0.5, 0.25)
    assert (found["attempts"], found["node"], found["error_class"]) == (1, "node-1", None)
    assert found["created_at"] == sidecar.created_at.timestamp()


def test_all_that_was_asked_for_is_read_again(storage: LocalStorage, clips: Any) -> None:
    long = clips.request("long", **LONG)
    rows = [ResultRow("long", "c" * 32, long), ResultRow("invalid", None, None)]
    ResultsWriter(storage, Outcomes(storage, 1)).write(rows)
    assert list(read_result_rows(storage)) == rows


def test_rows_of_results_without_whole_requests_are_read(storage: LocalStorage, clips: Any) -> None:
    rows = [planned(clips, "a"), ResultRow("invalid", None, None)]
    ResultsWriter(storage, Outcomes(storage, 1)).write(rows)
    ((key, table),) = parts(storage).items()
    older = io.BytesIO()
    pq.write_table(table.drop_columns("request"), older)
    storage.put(key, older.getvalue())
    assert list(read_result_rows(storage)) == rows


def test_rows_keep_their_order_and_their_state(storage: LocalStorage, clips: Any) -> None:
    rows = [
        planned(clips, "z"),
        failed(storage, clips, "b", error_message="no memory"),
        done(storage, clips, "a"),
        ResultRow("invalid", None, None),
    ]
    write(storage, 1, {"id": "invalid", "state": "failed", "error_class": "invalid_request"})
    counts = ResultsWriter(storage, Outcomes(storage, 1)).write(rows)
    assert counts == RunCounts(rows=4, done=1, failed=2, pending=1)
    (table,) = parts(storage).values()
    assert table["id"].to_pylist() == ["z", "b", "a", "invalid"]
    assert table["state"].to_pylist() == ["pending", "failed", "done", "failed"]
    assert table["prompt"].to_pylist()[3] is None
    assert table["key"].to_pylist() == [None, None, clip_key("a"), None]
    errors = [json.loads(line) for line in storage.read("errors.jsonl").splitlines()]
    assert [error["id"] for error in errors] == ["b", "invalid"]
    assert errors[0]["error_message"] == "no memory"
    assert errors[0]["request"] == clips.request("b").model_dump(mode="json")
    assert errors[1]["request"] is None


def test_a_clip_wins_over_the_failures_before_and_after_it(
    storage: LocalStorage, clips: Any
) -> None:
    failed(storage, clips, "a")
    row = done(storage, clips, "a")
    failed(storage, clips, "a")
    assert states(storage, [row]) == ["done"]
    assert read_outcomes(storage)["state"].to_pylist() == ["done"]


def test_failures_of_earlier_epochs_are_pending(storage: LocalStorage, clips: Any) -> None:
    row = failed(storage, clips, "a", epoch=1)
    assert states(storage, [row], epoch=1) == ["failed"]
    assert states(storage, [row], epoch=2) == ["pending"]


def test_a_clip_without_sidecar_is_not_done(storage: LocalStorage, clips: Any) -> None:
    row = done(storage, clips, "a")
    storage.delete(meta_key("a"))
    assert states(storage, [row]) == ["pending"]


def test_a_row_never_takes_another_requests_clip(storage: LocalStorage, clips: Any) -> None:
    done(storage, clips, "a", seed=8)
    assert states(storage, [planned(clips, "a"), ResultRow("a", None, None)]) == ["pending"] * 2
    row = failed(storage, clips, "a")
    assert states(storage, [row]) == ["failed"]


def test_the_last_record_of_a_clip_counts(storage: LocalStorage, clips: Any) -> None:
    row = done(storage, clips, "a", epoch=1)
    storage.delete(meta_key("a"))
    storage.delete(clip_key("a"))
    provenance = clips.provenance("a", attempts=2)
    result = commit_clip(storage, clips.file(provenance, "new"), provenance, clips.inspect)
    write(storage, 2, result.outcome())
    table = results_table([row], Outcomes(storage, 2))
    assert table["sha256"].to_pylist() == [result.sidecar.sha256]
    assert len(read_outcomes(storage)) == 1


def test_parts_have_a_bounded_size_and_shrink_with_the_manifest(
    storage: LocalStorage, clips: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("videogen_pipelines.results.PART_ROWS", 4)
    monkeypatch.setattr("videogen_pipelines.results.BATCH_ROWS", 3)
    rows = [planned(clips, f"row-{number}") for number in range(9)]
    outcomes = Outcomes(storage, 1)
    assert ResultsWriter(storage, outcomes).write(iter(rows)).rows == 9
    assert [len(table) for table in parts(storage).values()] == [4, 4, 1]
    joined = pa.concat_tables(parts(storage).values())
    assert joined["id"].to_pylist() == [row.id for row in rows]
    assert ResultsWriter(storage, outcomes).write(iter(rows[:4])).pending == 4
    assert list(parts(storage)) == ["results/part-00000.parquet"]


def test_an_empty_manifest(storage: LocalStorage) -> None:
    assert ResultsWriter(storage, Outcomes(storage, 1)).write([]) == RunCounts()
    assert storage.read("errors.jsonl") == b""


def test_outcomes_include_clips_the_ledger_missed(storage: LocalStorage, clips: Any) -> None:
    done(storage, clips, "a")
    provenance = clips.provenance("b")
    commit_clip(storage, clips.file(provenance), provenance, clips.inspect)
    failed(storage, clips, "c")
    assert sorted(
        zip(*(read_outcomes(storage)[n].to_pylist() for n in ("id", "state")), strict=True)
    ) == [("a", "done"), ("b", "done"), ("c", "failed")]


def test_every_file_written_is_vouched_for_and_fenced(storage: LocalStorage, clips: Any) -> None:
    rows = [done(storage, clips, "a"), failed(storage, clips, "b")]
    asked: list[int] = []
    writer = ResultsWriter(storage, Outcomes(storage, 1), lambda: asked.append(1))
    writer.write(rows)
    keys = ["results/part-00000.parquet", "errors.jsonl"]
    assert writer.digests == {k: hashlib.sha256(storage.read(k)).hexdigest() for k in keys}
    assert len(asked) == 2


def test_the_place_of_an_attempt_is_told(storage: LocalStorage, clips: Any) -> None:
    provenance = clips.provenance("a")
    result = store_attempt(storage, clips.file(provenance), provenance, clips.inspect)
    storage.create(meta_key("a"), result.sidecar.to_json())
    write(storage, 1, result.sidecar.outcome())
    row = ResultRow("a", provenance.clip_id, provenance.request)
    table = results_table([row], Outcomes(storage, 1))
    assert table["key"].to_pylist() == [result.sidecar.key]
    assert result.sidecar.key != clip_key("a")
