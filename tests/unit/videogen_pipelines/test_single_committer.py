"""Stores that let a second writer overwrite: attempts of ranks, sidecars of the coordinator."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from videogen.errors import OutputConflictError
from videogen.storage import LocalStorage
from videogen_pipelines.commit import commit_clip, store_attempt
from videogen_pipelines.keys import clip_key, meta_key
from videogen_pipelines.ledger import read_ledger
from videogen_pipelines.results import ResultRow
from videogen_pipelines.run_directory import RunDirectory
from videogen_pipelines.run_record import RunRecord, read_run_record
from videogen_pipelines.sidecar import read_sidecar
from videogen_pipelines.single_committer import commit_attempt, remove_losers

RECORD = RunRecord.of({"schema": 1}, "prompts.jsonl", "m" * 64, "tiny", "d" * 64)


class Overwriting(LocalStorage):
    """Ignores conditions, as some object stores do."""

    @property
    def conditional_writes(self) -> bool:
        return False

    def create(
        self, key: str, data: bytes | Path, metadata: Mapping[str, str] | None = None
    ) -> bool:
        if self.exists(key):
            return False
        self.put(key, data)
        return True


@pytest.fixture
def plain(tmp_path: Path) -> Overwriting:
    return Overwriting(tmp_path / "out")


def attempt(storage: LocalStorage, clips: Any, name: str, noise: str = "") -> dict[str, Any]:
    provenance = clips.provenance(name)
    path = clips.file(provenance, noise)
    return store_attempt(storage, path, provenance, clips.inspect).outcome()


def test_an_attempt_has_a_name_of_its_own_and_no_sidecar(plain: Overwriting, clips: Any) -> None:
    first, second = attempt(plain, clips, "a", "1"), attempt(plain, clips, "a", "2")
    assert json.loads(json.dumps(first)) == first
    assert sorted(plain.list()) == sorted([first["key"], second["key"]])
    assert not plain.exists(clip_key("a"))


def test_the_first_attempt_heard_of_wins(plain: Overwriting, clips: Any) -> None:
    first, second = attempt(plain, clips, "a", "1"), attempt(plain, clips, "a", "2")
    record = commit_attempt(plain, second)
    assert commit_attempt(plain, first) == record
    assert commit_attempt(plain, second) == record
    sidecar = read_sidecar(plain, "a")
    assert sidecar.key == record["key"] == second["key"]
    assert "sidecar" not in record
    assert remove_losers(plain) == 1
    assert list(plain.list("clips/")) == [second["key"]]


def test_a_committed_clip_is_not_stored_again(plain: Overwriting, clips: Any) -> None:
    record = commit_attempt(plain, attempt(plain, clips, "a"))
    again = attempt(plain, clips, "a", "late")
    assert again == record
    assert list(plain.list("clips/")) == [record["key"]]


def test_another_request_under_the_id_is_a_conflict(plain: Overwriting, clips: Any) -> None:
    other = clips.provenance("a", seed=8)
    theirs = store_attempt(plain, clips.file(other), other, clips.inspect).outcome()
    commit_attempt(plain, attempt(plain, clips, "a"))
    with pytest.raises(OutputConflictError, match=r"id 'a'.* Fix: "):
        commit_attempt(plain, theirs)
    with pytest.raises(OutputConflictError, match=r"seed 7, now 8"):
        store_attempt(plain, clips.file(other), other, clips.inspect)


def test_clips_of_other_modes_are_never_removed(plain: Overwriting, clips: Any) -> None:
    attempt(plain, clips, "uncommitted", "1")
    attempt(plain, clips, "uncommitted", "2")
    provenance = clips.provenance("b")
    commit_clip(plain, clips.file(provenance), provenance, clips.inspect)
    before = sorted(plain.list())
    assert remove_losers(plain) == 0
    assert sorted(plain.list()) == before


def test_a_run_commits_for_its_ranks_and_leaves_one_clip_each(
    plain: Overwriting, clips: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with RunDirectory(plain) as run:
        record = run.initialise(RECORD)
        assert record.commit == read_run_record(plain).commit == "single_committer"
        assert "does not refuse a second writer" in caplog.text
        for name in "ab":
            stored = attempt(plain, clips, name, "first")
            attempt(plain, clips, name, "its answer was lost")
            run.record_done(stored)
        plans = {name: clips.provenance(name) for name in "ab"}
        rows = [ResultRow(name, p.clip_id, p.request) for name, p in plans.items()]
        assert run.finish(rows).done == 2
    clips_stored = list(plain.list("clips/"))
    assert len(clips_stored) == 2
    assert sorted(read_sidecar(plain, name).key for name in "ab") == sorted(clips_stored)
    assert sorted(read_ledger(plain)["key"].to_pylist()) == sorted(clips_stored)


def test_attempts_of_a_killed_coordinator_are_adopted(plain: Overwriting, clips: Any) -> None:
    stored = {attempt(plain, clips, "a", noise)["key"] for noise in ("1", "2")}
    with RunDirectory(plain) as run:
        run.initialise(RECORD)
        committed = run.committed()
        assert run.adopt_orphans(committed, clips.provenance, clips.inspect) == ["a"]
        provenance = clips.provenance("a")
        run.finish([ResultRow("a", provenance.clip_id, provenance.request)])
    sidecar = read_sidecar(plain, "a")
    assert sidecar.key in stored
    assert list(plain.list("clips/")) == [sidecar.key]
    assert list(plain.list("meta/")) == [meta_key("a")]
