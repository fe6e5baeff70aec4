from __future__ import annotations

import hashlib
import io
import json
import logging
import multiprocessing
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from videogen.errors import OutputConflictError, StorageError
from videogen.storage import LocalStorage
from videogen_pipelines.commit import commit_clip
from videogen_pipelines.keys import clip_key, meta_key
from videogen_pipelines.ledger import read_done, read_ledger
from videogen_pipelines.results import ResultRow, RunCounts
from videogen_pipelines.run_directory import RunDirectory
from videogen_pipelines.run_record import RunRecord
from videogen_pipelines.sidecar import Provenance, now, read_sidecar

NAMES = ("a", "b", "c")
BAD = "bad"
RECORD = RunRecord.of({"schema": 1}, "prompts.jsonl", "m" * 64, "tiny", "d" * 64)


class Crash(BaseException):
    """The process is gone; nothing may catch this."""


class DyingStorage(LocalStorage):
    """Dies at one write, before or after it took effect; a dead process writes nothing more."""

    def __init__(self, root: Path, dies_at: int = -1, after: bool = False) -> None:
        super().__init__(root)
        self.dies_at, self.after, self.num_writes = dies_at, after, 0
        self.is_dead = False

    def _write(self, write: Any) -> Any:
        number, self.num_writes = self.num_writes, self.num_writes + 1
        if self.is_dead or (number == self.dies_at and not self.after):
            self.is_dead = True
            raise Crash
        result = write()
        if number == self.dies_at:
            self.is_dead = True
            raise Crash
        return result

    def create(self, key: str, data: bytes | Path, metadata: Any = None) -> bool:
        return self._write(lambda: super(DyingStorage, self).create(key, data, metadata))

    def put(self, key: str, data: bytes | Path) -> None:
        self._write(lambda: super(DyingStorage, self).put(key, data))

    def delete(self, key: str) -> None:
        self._write(lambda: super(DyingStorage, self).delete(key))


def generate(storage: LocalStorage, clips: Any, made: list[str]) -> RunCounts:
    """What the engine does, without an engine: one row always fails, the others become clips."""
    plan: dict[str, Provenance] = {name: clips.provenance(name) for name in (*NAMES, BAD)}
    with RunDirectory(storage) as run:
        run.initialise(RECORD)
        committed = run.committed()
        run.check_conflicts(((name, p.clip_id) for name, p in plan.items()), committed)
        run.adopt_orphans(committed, plan.get, clips.inspect)
        run.withdraw_success()
        for name, provenance in plan.items():
            if name in committed:
                continue
            made.append(name)
            if name == BAD:
                run.record_failure(BAD, "oom", "out of memory", 3, provenance.clip_id)
            else:
                path = clips.file(provenance, noise=str(len(made)))
                result = commit_clip(storage, path, provenance, clips.inspect)
                run.record_done(result.outcome())
            run.flush()
        return run.finish(ResultRow(name, p.clip_id, p.request) for name, p in plan.items())


def results(storage: LocalStorage) -> list[dict[str, Any]]:
    data = [storage.read(key) for key in storage.list("results/")]
    return [row for part in data for row in pq.read_table(io.BytesIO(part)).to_pylist()]


def assert_complete(storage: LocalStorage) -> None:
    assert sorted(storage.list("clips/")) == sorted(clip_key(name) for name in NAMES)
    assert sorted(storage.list("meta/")) == sorted(meta_key(name) for name in NAMES)
    rows = {row["id"]: row for row in results(storage)}
    assert list(rows) == [*NAMES, BAD]
    for name in NAMES:
        sha256 = hashlib.sha256(storage.read(clip_key(name))).hexdigest()
        assert read_sidecar(storage, name).sha256 == sha256
        assert (rows[name]["state"], rows[name]["sha256"]) == ("done", sha256)
    assert (rows[BAD]["state"], rows[BAD]["error_class"]) == ("failed", "oom")
    (error,) = [json.loads(line) for line in storage.read("errors.jsonl").splitlines()]
    assert (error["id"], error["attempts"]) == (BAD, 3)
    assert error["request"]["prompt"] == "prompt of bad"
    success = json.loads(storage.read("_SUCCESS"))
    counts = {name: success[name] for name in ("rows", "done", "failed", "pending")}
    assert counts == {"rows": 4, "done": 3, "failed": 1, "pending": 0}
    assert (success["manifest_digest"], success["model_digest"]) == ("m" * 64, "d" * 64)


def test_a_run_from_start_to_end(storage: LocalStorage, clips: Any) -> None:
    made: list[str] = []
    assert generate(storage, clips, made) == RunCounts(rows=4, done=3, failed=1, pending=0)
    assert_complete(storage)
    assert made == [*NAMES, BAD]


def test_a_second_run_makes_only_what_failed(storage: LocalStorage, clips: Any) -> None:
    generate(storage, clips, [])
    before = {key: storage.read(key) for key in storage.list() if "/" in key}
    made: list[str] = []
    generate(storage, clips, made)
    assert made == [BAD]
    assert_complete(storage)
    assert {key: storage.read(key) for key in storage.list("clips/")} == {
        key: data for key, data in before.items() if key.startswith("clips/")
    }
    assert storage.exists("runs/0002.json")


def count_writes(tmp_path: Path, clips: Any) -> int:
    storage = DyingStorage(tmp_path / "counted")
    generate(storage, clips, [])
    return storage.num_writes


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_write_the_same_command_finishes(
    tmp_path: Path, clips: Any, after: bool
) -> None:
    total = count_writes(tmp_path, clips)
    assert total == 15  # 2 to start, 2 and a segment a clip, 1 for the failure, 3 to finish
    for number in range(total):
        dying = DyingStorage(tmp_path / f"{number}", number, after)
        made: list[str] = []
        with pytest.raises(Crash):
            generate(dying, clips, made)
        storage = LocalStorage(dying.root)
        # Whatever is visible is whole, and _SUCCESS never comes before the rest.
        stored = {name for name in NAMES if storage.exists(clip_key(name))}
        if storage.exists("_SUCCESS"):
            assert_complete(storage)
        made.clear()
        generate(storage, clips, made)
        assert_complete(storage)
        assert stored.isdisjoint(made)  # a clip that was stored is not made again


def test_killed_again_and_again_it_still_finishes(tmp_path: Path, clips: Any) -> None:
    """Each invocation lives for six writes, which the last one needs to finish."""
    root = tmp_path / "out"
    deaths = 0
    while not LocalStorage(root).exists("_SUCCESS"):
        with suppress(Crash):
            generate(DyingStorage(root, dies_at=6), clips, [])
            break
        deaths += 1
        assert deaths < 10
    assert_complete(LocalStorage(root))
    assert deaths >= 2


def test_an_unfinished_run_has_no_success(storage: LocalStorage, clips: Any) -> None:
    generate(storage, clips, [])
    with RunDirectory(storage) as run:
        run.initialise(RECORD)
        plan = {name: clips.provenance(name) for name in (*NAMES, BAD)}
        rows = (ResultRow(name, p.clip_id, p.request) for name, p in plan.items())
        counts = run.finish(rows)
    # The failure belongs to the invocation before; this one has not tried the row yet.
    assert counts == RunCounts(rows=4, done=3, failed=0, pending=1)
    assert not storage.exists("_SUCCESS")
    assert [row["state"] for row in results(storage)] == ["done", "done", "done", "pending"]


def test_a_lost_ledger_is_rebuilt_from_the_sidecars(storage: LocalStorage, clips: Any) -> None:
    generate(storage, clips, [])
    expected = read_done(storage)
    for key in list(storage.list("ledger/")):
        storage.delete(key)
    with RunDirectory(storage) as run:
        run.initialise(RECORD)
        assert run.committed() == expected
    assert read_done(storage) == expected
    rebuilt = {row["id"]: row for row in read_ledger(storage).to_pylist()}
    assert rebuilt["b"]["sha256"] == read_sidecar(storage, "b").sha256
    assert rebuilt["b"]["denoise_s"] == 2.0


def test_a_torn_segment_costs_reading_its_sidecars(
    storage: LocalStorage, clips: Any, caplog: pytest.LogCaptureFixture
) -> None:
    generate(storage, clips, [])
    expected = read_done(storage)
    key = next(iter(storage.list("ledger/")))
    storage.put(key, storage.read(key)[:-6])
    with caplog.at_level(logging.WARNING), RunDirectory(storage) as run:
        run.initialise(RECORD)
        assert run.committed() == expected
    assert f"{key} is damaged" in caplog.text


def test_a_clip_of_the_ledger_whose_sidecar_is_gone_is_made_again(
    storage: LocalStorage, clips: Any, caplog: pytest.LogCaptureFixture
) -> None:
    generate(storage, clips, [])
    storage.delete(meta_key("b"))
    storage.delete(clip_key("b"))
    made: list[str] = []
    with caplog.at_level(logging.WARNING):
        generate(storage, clips, made)
    assert sorted(made) == ["b", BAD]
    assert "1 clips of the ledger have no sidecar any more" in caplog.text
    assert_complete(storage)


def test_conflicts_are_found_before_any_work_and_named(storage: LocalStorage, clips: Any) -> None:
    generate(storage, clips, [])
    with RunDirectory(storage) as run:
        run.initialise(RECORD)
        planned = [(name, clips.provenance(name, seed=8).clip_id) for name in ("a", "b", "new")]
        with pytest.raises(
            OutputConflictError, match=r"got 2 ids .* Fix: choose another"
        ) as caught:
            run.check_conflicts(planned, run.committed())
    assert "'a': 'prompt of a' by model tiny dddddddddddd" in str(caught.value)
    assert "'new'" not in str(caught.value)


def test_a_refused_command_leaves_a_complete_run_complete(
    storage: LocalStorage, clips: Any
) -> None:
    generate(storage, clips, [])
    before = storage.read("_SUCCESS")
    with RunDirectory(storage) as run:
        run.initialise(RECORD)
        with pytest.raises(OutputConflictError):
            run.check_conflicts([("a", "another clip")], run.committed())
    assert storage.read("_SUCCESS") == before


def test_a_finished_run_stands_until_something_is_to_be_made(
    storage: LocalStorage, clips: Any
) -> None:
    generate(storage, clips, [])
    with RunDirectory(storage) as run:
        run.initialise(RECORD)
        assert run.standing(4, 3) == RunCounts(rows=4, done=3, failed=1)
        assert run.standing(5, 3) is None
        assert run.standing(4, 4) is None
        storage.put("errors.jsonl", b"written by a coordinator that had lost the run")
        assert run.standing(4, 3) is None
        run.withdraw_success()
        assert run.standing(4, 3) is None
    with RunDirectory(storage) as run:
        generated = RECORD.model_copy(update={"manifest_digest": "n" * 64})
        run.initialise(generated)
        assert run.standing(4, 3) is None


def test_an_epoch_is_an_invocation(storage: LocalStorage) -> None:
    for expected in (1, 2, 3):  # although none of them writes to the ledger
        with RunDirectory(storage) as run:
            assert run.initialise(RECORD).invocation == expected
            assert run.ledger.epoch == expected


def test_orphans_the_manifest_does_not_ask_for_are_left_alone(
    storage: LocalStorage, clips: Any
) -> None:
    stranger = clips.provenance("stranger")
    storage.create(clip_key("stranger"), clips.content(stranger))
    with RunDirectory(storage) as run:
        run.initialise(RECORD)
        committed = run.committed()
        assert run.adopt_orphans(committed, lambda name: None, clips.inspect) == []
        assert committed == {}
        assert run.adopt_orphans(committed, {"stranger": stranger}.get, clips.inspect) == [
            "stranger"
        ]
        assert committed == {"stranger": stranger.clip_id}
    assert read_done(storage) == committed


def test_one_coordinator_at_a_time(storage: LocalStorage) -> None:
    with (
        RunDirectory(storage),
        pytest.raises(StorageError, match=r"writing to, expected a free one\. Fix: "),
        RunDirectory(LocalStorage(storage.root)),
    ):
        pass


def finish_as_a_child(root: Path) -> None:
    with RunDirectory(LocalStorage(root)) as run:
        run.initialise(RECORD)


def test_the_lock_is_free_after_an_error_and_in_another_process(storage: LocalStorage) -> None:
    with pytest.raises(ZeroDivisionError), RunDirectory(storage):
        raise ZeroDivisionError
    child = multiprocessing.get_context("fork").Process(
        target=finish_as_a_child, args=(storage.root,)
    )
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert storage.exists("run.json")


def test_the_lock_is_free_although_the_ledger_cannot_be_written(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> bool:
        raise StorageError("disk is full")

    run = RunDirectory(storage)
    with pytest.raises(StorageError, match="disk is full"), run:
        run.initialise(RECORD)
        run.record_failure("a", "oom", "m", 3)
        monkeypatch.setattr(storage, "create", fail)
    with storage.lock():
        pass


def test_nothing_works_before_initialise(storage: LocalStorage) -> None:
    with RunDirectory(storage) as run, pytest.raises(StorageError, match="initialise"):
        run.record_failure("a", "oom", "m", 3)


def test_the_summary_counts_this_invocation(storage: LocalStorage, clips: Any) -> None:
    generate(storage, clips, [])
    with RunDirectory(storage) as run:
        run.initialise(RECORD.model_copy(update={"created_at": now()}))
        provenance = clips.provenance("d", attempts=2)
        result = commit_clip(storage, clips.file(provenance), provenance, clips.inspect)
        run.record_done(result.outcome())
        run.record_failure(BAD, "oom", "out of memory", 3)
        summary = run.summary()
        timed = run.summary(elapsed_s=30.0)
    assert (summary.done, summary.failed, summary.retries) == (1, 1, 1 + 2)
    assert summary.failed_by_class == {"oom": 1}
    assert summary.elapsed_s is not None
    assert 0 < summary.elapsed_s < 60
    assert timed.clips_per_minute == 2.0
