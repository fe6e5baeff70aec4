"""Every way to harm a run directory has a name, and a run that is whole has none of them."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.videogen_pipelines.verification.conftest import FinishedRun
from videogen.errors import StorageError
from videogen.storage import LocalStorage
from videogen_pipelines.commit import commit_clip
from videogen_pipelines.keys import (
    PartialKey,
    attempt_key,
    clip_key,
    meta_key,
    partial_key,
    shard_of,
)
from videogen_pipelines.sidecar import read_sidecar
from videogen_pipelines.verification.clip_check import Level
from videogen_pipelines.verification.verifier import verify_run
from videogen_pipelines.verification.violations import Kind

SEGMENT = "ledger/000001/00000000.jsonl.gz"


def edit(storage: LocalStorage, where: str, **changes: Any) -> None:
    storage.put(where, json.dumps(json.loads(storage.read(where)) | changes).encode())


def test_a_whole_run_is_proven(finished_run: FinishedRun, clips: Any) -> None:
    storage = finished_run()
    before = {key: storage.read(key) for key in storage.list()}
    clips.inspected.clear()
    report = verify_run(storage, inspect=clips.inspect)
    assert report.proven, report.violations
    assert (report.rows, report.clips, report.failed, report.outside) == (6, 5, 1, 0)
    assert report.rows_from == "results"
    assert len(clips.inspected) == 5
    assert {key: storage.read(key) for key in storage.list()} == before


Harm = Callable[[LocalStorage, Any], object]


def replace_by_another(storage: LocalStorage, clips: Any) -> None:
    """A clip of another request, with a sidecar that fits its bytes."""
    content = clips.content(clips.provenance("a", seed=8))
    storage.put(clip_key("a"), content)
    sha256 = hashlib.sha256(content).hexdigest()
    edit(storage, meta_key("a"), sha256=sha256, bytes=len(content))


def flip(storage: LocalStorage, key: str) -> None:
    data = bytearray(storage.read(key))
    data[len(data) // 2] ^= 1
    storage.put(key, bytes(data))


def begin(storage: LocalStorage, name: str, clip_id: str) -> None:
    """Leave the first chunk of a clip."""
    for kind in ("mp4", "safetensors"):
        storage.put(partial_key(PartialKey(name, clip_id, "h264-auto", 0, kind)), b"x")


HARMS: dict[str, tuple[Harm, set[Kind]]] = {
    "clip gone": (lambda s, c: s.delete(clip_key("a")), {Kind.NO_CLIP}),
    "sidecar gone": (lambda s, c: s.delete(meta_key("a")), {Kind.NOT_COMMITTED, Kind.LEDGER}),
    "both gone": (
        lambda s, c: (s.delete(clip_key("a")), s.delete(meta_key("a"))),
        {Kind.MISSING, Kind.LEDGER},
    ),
    "clip cut": (
        lambda s, c: s.put(clip_key("a"), s.read(clip_key("a"))[:-1]),
        {Kind.DAMAGED_CLIP},
    ),
    "bit flipped": (lambda s, c: flip(s, clip_key("a")), {Kind.DAMAGED_CLIP}),
    "another clip": (replace_by_another, {Kind.DAMAGED_CLIP, Kind.LEDGER}),
    "sidecar torn": (lambda s, c: s.put(meta_key("a"), b"{"), {Kind.DAMAGED_SIDECAR}),
    "sidecar of another": (
        lambda s, c: s.put(meta_key("a"), s.read(meta_key("b"))),
        {Kind.DAMAGED_SIDECAR},
    ),
    "sidecar edited": (
        lambda s, c: edit(s, meta_key("a"), clip_id="0" * 32),
        {Kind.DAMAGED_SIDECAR},
    ),
    "second attempt": (lambda s, c: s.put(attempt_key("a"), b"x"), {Kind.DUPLICATE}),
    "stranger": (lambda s, c: s.put(clip_key("stranger"), b"x"), {Kind.ORPHAN}),
    "foreign": (lambda s, c: s.put(f"clips/{shard_of('a')}/a.webm", b"x"), {Kind.FOREIGN}),
    "chunks of a complete clip": (
        lambda s, c: begin(s, "a", c.provenance("a").clip_id),
        {Kind.TEMPORARY},
    ),
    "chunks of no clip": (lambda s, c: begin(s, "bad", "0" * 32), {Kind.TEMPORARY}),
    "segment torn": (lambda s, c: s.put(SEGMENT, s.read(SEGMENT)[:-9]), {Kind.LEDGER}),
    "ledger lies": (
        lambda s, c: s.put(
            "ledger/000009/00000000.jsonl.gz",
            gzip.compress(b'{"id":"z","clip_id":"0","state":"done"}'),
        ),
        {Kind.LEDGER},
    ),
    "no success": (lambda s, c: s.delete("_SUCCESS"), {Kind.UNFINISHED}),
    "success torn": (lambda s, c: s.put("_SUCCESS", b"{}"), {Kind.RESULTS}),
    "success lies": (lambda s, c: edit(s, "_SUCCESS", done=6, failed=0), {Kind.RESULTS}),
    "results edited": (lambda s, c: s.put("errors.jsonl", b""), {Kind.RESULTS}),
    "results gone": (lambda s, c: s.delete("results/part-00000.parquet"), {Kind.RESULTS}),
    "temporary": (lambda s, c: (s.root / "clips/.tmp-1").write_bytes(b"x"), {Kind.TEMPORARY}),
    "scratch": (lambda s, c: (s.root / ".scratch/n-1").mkdir(parents=True), {Kind.TEMPORARY}),
}


@pytest.mark.parametrize(("harm", "kinds"), HARMS.values(), ids=HARMS.keys())
def test_every_harm_has_a_name(
    finished_run: FinishedRun, clips: Any, harm: Harm, kinds: set[Kind]
) -> None:
    storage = finished_run()
    harm(storage, clips)
    report = verify_run(storage, inspect=clips.inspect)
    assert set(report.counts) == kinds, report.violations
    for violation in report.violations:
        assert "expected" in violation.message
        assert violation.key or violation.id


@pytest.mark.parametrize(
    ("level", "kinds"), [(Level.SIZES, set()), (Level.BYTES, {Kind.DAMAGED_CLIP})]
)
def test_a_level_says_what_is_read(
    finished_run: FinishedRun, clips: Any, level: Level, kinds: set[Kind]
) -> None:
    storage = finished_run()
    flip(storage, clip_key("a"))
    clips.inspected.clear()
    assert set(verify_run(storage, level, clips.inspect).counts) == kinds
    assert clips.inspected == []


def test_a_run_that_stopped_names_what_is_missing(finished_run: FinishedRun, clips: Any) -> None:
    report = verify_run(finished_run(finish=False, skip=("c",)), inspect=clips.inspect)
    assert set(report.counts) == {Kind.UNFINISHED}
    assert report.rows_from == "storage"
    assert "rows that left no trace cannot be missed" in report.notes[0]


def test_rows_that_were_never_reached_are_missing(finished_run: FinishedRun, clips: Any) -> None:
    storage = finished_run(skip=("c",))
    report = verify_run(storage, inspect=clips.inspect)
    assert set(report.counts) == {Kind.UNFINISHED, Kind.MISSING}
    assert [v.id for v in report.violations if v.kind is Kind.MISSING] == ["c"]


def test_clips_of_other_manifests_are_no_violation(finished_run: FinishedRun, clips: Any) -> None:
    storage = finished_run()
    provenance = clips.provenance("earlier")
    commit_clip(storage, clips.file(provenance), provenance, clips.inspect)
    report = verify_run(storage, inspect=clips.inspect)
    assert report.proven
    assert (report.outside, report.unlisted) == (1, 1)


def test_a_sidecar_names_where_its_clip_is(finished_run: FinishedRun, clips: Any) -> None:
    storage = finished_run()
    key = attempt_key("a")
    storage.put(key, storage.read(clip_key("a")))
    storage.delete(clip_key("a"))
    edit(storage, meta_key("a"), key=key)
    assert read_sidecar(storage, "a").key == key
    assert set(verify_run(storage, inspect=clips.inspect).counts) == {Kind.LEDGER}


def test_a_folder_that_holds_no_run(storage: LocalStorage) -> None:
    with pytest.raises(StorageError, match=r"expected a run directory\. Fix: "):
        verify_run(storage)


def test_progress_is_told(finished_run: FinishedRun, clips: Any, storage: LocalStorage) -> None:
    finished_run()
    for number in range(200):
        provenance = clips.provenance(f"more-{number}")
        commit_clip(storage, clips.file(provenance), provenance, clips.inspect)
    told: list[int] = []
    verify_run(storage, Level.SIZES, on_checked=told.append)
    assert told == [100, 200]


def test_a_clip_that_is_begun_is_no_fault_while_a_row_asks_for_it(
    finished_run: FinishedRun, clips: Any
) -> None:
    storage = finished_run()
    begin(storage, "bad", clips.provenance("bad").clip_id)
    before = sorted(storage.list("partial/"))
    report = verify_run(storage, inspect=clips.inspect)
    assert report.proven, report.violations
    assert report.notes == ["clips that are begun and go on in the next run: 1"]
    assert sorted(storage.list("partial/")) == before
