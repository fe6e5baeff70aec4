"""Dead letters again: which rows, with what, and what is said about those that are not."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from videogen.errors import ConfigError, InvalidRequestError, StorageError, WeightsError
from videogen.storage import LocalStorage
from videogen_cluster.failures import ErrorClass, Failure
from videogen_cluster.listener import Listener
from videogen_cluster.scheduler import Completed, DeadLettered
from videogen_pipelines.commit import commit_clip
from videogen_pipelines.config import load_run_config
from videogen_pipelines.engine import Items
from videogen_pipelines.generate import generate
from videogen_pipelines.inputs import ManifestInputs, PromptInputs
from videogen_pipelines.job import Job, LoadedModel
from videogen_pipelines.keys import meta_key
from videogen_pipelines.manifest import ManifestOptions
from videogen_pipelines.recorded import recorded_job
from videogen_pipelines.retry import Retried, retry
from videogen_pipelines.selection import read_dead_letters
from videogen_pipelines.status import read_status
from videogen_pipelines.verification.repair import Repair
from videogen_pipelines.verification.verifier import verify_run
from videogen_pipelines.verification.violations import Kind

ROWS = [{"id": f"clip-{number}", "text": "a red circle"} for number in range(5)]
OPTIONS = ManifestOptions(columns={"prompt": "text"})


@dataclass
class FakeEngine:
    """Commits fake clips; `fail` says of which class which rows fail."""

    clips: Any
    fail: dict[str, ErrorClass] = field(default_factory=dict)
    stop_after: int | None = None
    made: list[str] = field(default_factory=list)

    def __call__(self, job: Job, items: Items, listener: Listener) -> bool:
        for name, payload in items:
            if self.stop_after == len(self.made):
                return True
            self.made.append(name)
            if name in self.fail:
                failure = Failure(self.fail[name], f"{name} failed")
                listener.dead_lettered(DeadLettered(name, 2, failure))
                continue
            request = {**payload["request"], "name": payload["request"]["id"]}
            del request["id"]
            provenance = self.clips.provenance(model=job.model.stamp, **request)
            assert provenance.clip_id == payload["clip_id"]
            path = self.clips.file(provenance)
            result = commit_clip(job.storage, path, provenance, self.clips.inspect)
            listener.completed(Completed(name, 1, result.outcome()))
        return False


@pytest.fixture
def job(tmp_path: Path, tiny_model: Path) -> Job:
    manifest = tmp_path / "rows.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    settings = [f"model.name={tiny_model}", "sampling.eta=0.5", "output.contact_sheet=false"]
    config = load_run_config(None, settings)
    model = LoadedModel.read(config.model.name)
    inputs = ManifestInputs(str(manifest), model.defaults(config), model.check, OPTIONS, "skip")
    return Job.check(config, model, inputs, str(tmp_path / "out"))


FAILURES = {"clip-1": ErrorClass.NON_FINITE, "clip-3": ErrorClass.OUT_OF_MEMORY}
Try = Callable[..., tuple[Retried, FakeEngine]]


@pytest.fixture
def try_again(job: Job, clips: Any) -> Try:
    def trying(only: str | None = None, **options: Any) -> tuple[Retried, FakeEngine]:
        engine = FakeEngine(clips, **options)
        console = Console(file=io.StringIO())
        return retry(LocalStorage(job.storage.uri), console, only, engine=engine), engine

    return trying


def first_run(job: Job, clips: Any, **options: Any) -> None:
    engine = FakeEngine(clips, **{"fail": FAILURES, **options})
    generate(job, Console(file=io.StringIO()), engine=engine)


def errors(job: Job) -> dict[str, str]:
    lines = job.storage.read("errors.jsonl").splitlines()
    return {error["id"]: error["error_class"] for error in map(json.loads, lines)}


def test_only_dead_letters_are_made_again(job: Job, clips: Any, try_again: Try) -> None:
    first_run(job, clips)
    retried, engine = try_again()
    assert engine.made == ["clip-1", "clip-3"]
    assert retried.outcome is not None
    assert retried.outcome.state == "complete"
    assert retried.outcome.counts.done == 5
    assert (retried.chosen, retried.dead) == (2, {"non_finite": 1, "out_of_memory": 1})
    assert verify_run(job.storage, inspect=clips.inspect).proven


def test_failures_of_other_classes_stand_with_their_reasons(
    job: Job, clips: Any, try_again: Try
) -> None:
    first_run(job, clips)
    retried, engine = try_again("out_of_memory")
    assert engine.made == ["clip-3"]
    assert retried.outcome is not None
    counts = retried.outcome.counts
    assert (counts.done, counts.failed, counts.pending) == (4, 1, 0)
    assert errors(job) == {"clip-1": "non_finite"}
    status = read_status(job.storage)
    assert status is not None
    assert (status.done, status.failed, status.pending) == (4, 1, 0)
    assert status.errors_by_class == {"non_finite": 1}
    letter = read_dead_letters(job.storage)["clip-1"]
    assert (letter.message, letter.attempts) == ("clip-1 failed", 2)
    assert verify_run(job.storage, inspect=clips.inspect).proven


def test_rows_that_were_never_reached_stay_that_way(job: Job, clips: Any, try_again: Try) -> None:
    first_run(job, clips, stop_after=3)
    retried, engine = try_again()
    assert engine.made == ["clip-1"]
    assert retried.outcome is not None
    assert (retried.outcome.state, retried.outcome.counts.pending) == ("some_failed", 2)
    assert not job.storage.exists("_SUCCESS")


def test_a_retry_that_is_interrupted_keeps_the_other_failures(
    job: Job, clips: Any, try_again: Try
) -> None:
    first_run(job, clips)
    retried, _ = try_again("out_of_memory", stop_after=0)
    assert retried.outcome is not None
    counts = retried.outcome.counts
    assert (counts.done, counts.failed, counts.pending) == (3, 1, 1)


def test_what_fails_again_is_a_dead_letter_again(job: Job, clips: Any, try_again: Try) -> None:
    first_run(job, clips)
    retried, _ = try_again(fail={"clip-1": ErrorClass.HANG})
    assert retried.outcome is not None
    assert retried.outcome.state == "some_failed"
    assert errors(job) == {"clip-1": "hang"}
    assert try_again("hang")[1].made == ["clip-1"]


@pytest.mark.parametrize("only", [None, "hang"])
def test_nothing_to_try_again_changes_nothing(
    job: Job, clips: Any, try_again: Try, only: str | None
) -> None:
    first_run(job, clips, fail={} if only is None else FAILURES)
    before = {key: job.storage.read(key) for key in job.storage.list()}
    retried, engine = try_again(only)
    assert (retried.outcome, retried.chosen, engine.made) == (None, 0, [])
    assert {key: job.storage.read(key) for key in job.storage.list()} == before


def test_bad_rows_are_no_dead_letters(tmp_path: Path, job: Job, clips: Any, try_again: Try) -> None:
    manifest = tmp_path / "rows.jsonl"
    manifest.write_text(manifest.read_text() + '{"id": "bad", "text": 5}\n')
    worse = Job(job.config, job.model, job.inputs, job.inputs.check(), job.storage)
    first_run(worse, clips)
    assert errors(job)["bad"] == "invalid_request"
    retried, engine = try_again()
    assert engine.made == ["clip-1", "clip-3"]
    assert retried.outcome is not None
    assert errors(job) == {"bad": "invalid_request"}
    assert try_again()[0].outcome is None


def test_prompts_are_tried_again_too(job: Job, clips: Any, try_again: Try) -> None:
    defaults = job.model.defaults(job.config)
    inputs = PromptInputs(["a red circle", "a red"], defaults, job.model.check, seed=7)
    prompted = Job(job.config, job.model, inputs, inputs.check(), job.storage)
    names = [row.request.id for row in prompted.rows({})]  # type: ignore[union-attr]
    first_run(prompted, clips, fail={names[1]: ErrorClass.ENCODE})
    assert try_again()[1].made == [names[1]]


def test_a_recorded_job_is_the_job(job: Job, clips: Any) -> None:
    first_run(job, clips)
    again = recorded_job(job.storage)
    assert again.config == job.config
    assert again.report == job.report
    assert list(again.rows({})) == list(job.rows({}))


def test_a_manifest_that_changed_or_went_is_refused(
    job: Job, clips: Any, tmp_path: Path, try_again: Try
) -> None:
    first_run(job, clips)
    manifest = tmp_path / "rows.jsonl"
    manifest.write_text(manifest.read_text() + json.dumps(ROWS[0] | {"id": "new"}) + "\n")
    with pytest.raises(InvalidRequestError, match=r"another content.*Fix: restore it, or run"):
        try_again()
    manifest.unlink()
    with pytest.raises(InvalidRequestError, match="no such file"):
        try_again()


def test_a_model_that_changed_is_refused(
    job: Job, clips: Any, try_again: Try, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_run(job, clips)
    stamp = job.model.stamp.model_copy(update={"digest": "e" * 64})
    other = LoadedModel(job.model.name, job.model.spec, stamp)
    monkeypatch.setattr(LoadedModel, "read", lambda *_: other)
    with pytest.raises(WeightsError, match=r"digest eeeeeeeeeeee.* Fix: restore"):
        try_again()


def test_a_record_of_an_earlier_version_says_what_to_do(
    job: Job, clips: Any, try_again: Try
) -> None:
    first_run(job, clips)
    record = json.loads(job.storage.read("run.json"))
    del record["inputs"]
    job.storage.put("run.json", json.dumps(record).encode())
    with pytest.raises(ConfigError, match=r"Fix: run the 'videogen generate' command"):
        try_again()


def test_a_folder_that_holds_no_run(try_again: Try) -> None:
    with pytest.raises(StorageError, match=r"expected a run directory"):
        try_again()


def test_an_interrupted_run_is_mended_from_its_manifest(job: Job, clips: Any) -> None:
    """The coordinator died between a clip and its sidecar, and after its last clip."""
    first_run(job, clips, fail={})
    job.storage.delete(meta_key("clip-2"))
    for key in ("_SUCCESS", "errors.jsonl", "results/part-00000.parquet"):
        job.storage.delete(key)
    found = verify_run(job.storage, inspect=clips.inspect)
    assert found.rows_from == "manifest"
    assert set(found.counts) == {Kind.UNFINISHED, Kind.NOT_COMMITTED, Kind.LEDGER}
    mending = Repair(job.storage, inspect=clips.inspect)
    assert mending.run().proven, mending.actions
    assert "declared the run complete: 5 done, 0 failed" in mending.actions
