"""Whatever harms a run, a repair proves it again or says which rows are to be made again."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.unit.videogen_pipelines.verification.conftest import NAMES, FinishedRun
from tests.unit.videogen_pipelines.verification.test_verifier import HARMS
from videogen.errors import StorageError
from videogen.storage import LocalStorage
from videogen_pipelines.keys import clip_key, meta_key
from videogen_pipelines.ledger import read_done, read_ledger
from videogen_pipelines.sidecar import read_sidecar
from videogen_pipelines.verification.repair import Repair
from videogen_pipelines.verification.violations import Kind, Report

# What cannot be mended without making the clip again.
LOST = {"clip gone", "both gone", "clip cut", "bit flipped", "another clip"}
# Without a manifest at hand, nothing tells the rows any more.
NEEDS_MANIFEST = {"results gone"}


def repair(storage: LocalStorage, clips: Any) -> tuple[Report, list[str]]:
    mending = Repair(storage, inspect=clips.inspect)
    return mending.run(), mending.actions


def contents(storage: LocalStorage, prefix: str = "") -> dict[str, bytes]:
    return {key: storage.read(key) for key in storage.list(prefix)}


@pytest.mark.parametrize("name", sorted(HARMS.keys() - LOST - NEEDS_MANIFEST))
def test_what_can_be_mended_is_mended(finished_run: FinishedRun, clips: Any, name: str) -> None:
    storage = finished_run()
    clips_before, meta_before = contents(storage, "clips/"), contents(storage, "meta/")
    HARMS[name][0](storage, clips)
    report, actions = repair(storage, clips)
    assert report.proven, (report.violations, actions)
    assert actions
    assert contents(storage, "clips/") == clips_before
    assert set(contents(storage, "meta/")) == set(meta_before)
    success = json.loads(storage.read("_SUCCESS"))
    assert (success["rows"], success["done"], success["failed"]) == (6, 5, 1)
    again, nothing = repair(storage, clips)
    assert again.proven
    assert nothing == []


@pytest.mark.parametrize("name", sorted(LOST))
def test_a_clip_that_is_lost_is_named_and_nothing_else_is(
    finished_run: FinishedRun, clips: Any, name: str
) -> None:
    storage = finished_run()
    HARMS[name][0](storage, clips)
    harmed = contents(storage)
    report, actions = repair(storage, clips)
    assert set(report.counts) == {Kind.UNFINISHED, Kind.MISSING}
    assert [v.id for v in report.violations if v.kind is Kind.MISSING] == ["a"]
    assert "1 rows have no clip: run the same command again" in actions
    assert not storage.exists("_SUCCESS")
    kept = set(contents(storage).values())
    for key, data in harmed.items():
        if key.startswith(("clips/", "meta/", "ledger/")):
            assert data in kept, f"{key} was deleted"


def test_a_finished_clip_without_sidecar_is_adopted(finished_run: FinishedRun, clips: Any) -> None:
    storage = finished_run()
    before = read_sidecar(storage, "b")
    storage.delete(meta_key("b"))
    report, actions = repair(storage, clips)
    assert report.proven
    assert f"adopted {clip_key('b')}" in actions
    after = read_sidecar(storage, "b")
    assert (after.sha256, after.clip_id) == (before.sha256, before.clip_id)
    assert after.warnings


LONG: dict[str, Any] = {
    "prompt": "a cat",
    "prompts": [{"at_s": 0.0, "prompt": "a cat"}, {"at_s": 0.5, "prompt": "a dog"}],
    "image": "/pictures/a.png",
    "image_sha256": "ab" * 32,
    "context_frames": 2,
    "loop": True,
}


def test_a_long_clip_is_adopted_with_all_that_was_asked_for(
    finished_run: FinishedRun, clips: Any
) -> None:
    storage = finished_run(**LONG)
    before, errors = read_sidecar(storage, "b"), storage.read("errors.jsonl")
    storage.delete(meta_key("b"))
    report, actions = repair(storage, clips)
    assert report.proven, (report.violations, actions)
    assert read_sidecar(storage, "b").request == before.request
    assert storage.read("errors.jsonl") == errors
    assert json.loads(errors)["request"]["prompts"] == LONG["prompts"]


def test_a_clip_of_which_older_results_tell_a_part_is_left_to_the_run(
    finished_run: FinishedRun, clips: Any
) -> None:
    storage = finished_run(**LONG)
    (key,) = storage.list("results/")
    part = io.BytesIO()
    table = pq.read_table(io.BytesIO(storage.read(key))).drop_columns("request")
    pq.write_table(table, part)
    storage.put(key, part.getvalue())
    storage.delete(meta_key("b"))
    report, actions = repair(storage, clips)
    assert any(action.startswith(f"left {clip_key('b')}") for action in actions)
    assert "1 rows have no clip: run the same command again" in actions
    assert Kind.DAMAGED_SIDECAR not in report.counts
    assert storage.exists(clip_key("b"))


def test_a_lost_ledger_is_written_anew_with_the_failures_that_are_left(
    finished_run: FinishedRun, clips: Any
) -> None:
    storage = finished_run()
    expected = read_done(storage)
    storage.put("ledger/000001/00000000.jsonl.gz", b"torn")
    storage.put("ledger/000002/00000000.jsonl.gz", b"torn")
    repair(storage, clips)
    assert read_done(storage) == expected
    assert list(storage.list("ledger/")) == ["ledger/000003/00000000.jsonl.gz"]
    assert len(list(storage.list("quarantine/ledger/"))) == 2
    (failed,) = [row for row in read_ledger(storage).to_pylist() if row["state"] == "failed"]
    assert (failed["id"], failed["error_class"]) == ("bad", "non_finite")  # the results knew


def test_failures_survive_a_new_ledger(finished_run: FinishedRun, clips: Any) -> None:
    storage = finished_run()
    HARMS["ledger lies"][0](storage, clips)
    report, _ = repair(storage, clips)
    assert report.proven
    (failed,) = [row for row in read_ledger(storage).to_pylist() if row["state"] == "failed"]
    assert (failed["id"], failed["error_class"], failed["attempts"]) == ("bad", "non_finite", 2)
    assert "z" not in read_done(storage)


def test_a_clip_whose_row_is_not_known_is_left_alone(
    finished_run: FinishedRun, clips: Any, caplog: pytest.LogCaptureFixture
) -> None:
    storage = finished_run(finish=False)
    storage.delete(meta_key("c"))
    with caplog.at_level(logging.WARNING):
        report, actions = repair(storage, clips)
    assert storage.exists(clip_key("c"))
    assert any(action.startswith(f"left {clip_key('c')}") for action in actions)
    assert set(report.counts) == {Kind.UNFINISHED, Kind.NOT_COMMITTED}


def test_nobody_mends_while_a_run_is_writing(finished_run: FinishedRun, clips: Any) -> None:
    storage = finished_run()
    with storage.lock(), pytest.raises(StorageError, match="writing to"):
        Repair(storage, inspect=clips.inspect).run()


def test_everything_at_once(finished_run: FinishedRun, clips: Any) -> None:
    storage = finished_run()
    for name in ("sidecar gone", "second attempt", "stranger", "foreign", "ledger lies", "scratch"):
        HARMS[name][0](storage, clips)
    report, _ = repair(storage, clips)
    assert report.proven, report.violations
    assert sorted(contents(storage, "clips/")) == sorted(map(clip_key, NAMES))
