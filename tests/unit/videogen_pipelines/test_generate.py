"""The program with an engine in this process: what is made, kept, refused, resumed and reported."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from videogen.errors import OutputConflictError, StorageError, WeightsError
from videogen.media import probe, read_video
from videogen_cluster.failures import ErrorClass, Failure
from videogen_cluster.listener import Listener
from videogen_cluster.scheduler import Completed, DeadLettered
from videogen_cluster.workload import RankContext
from videogen_pipelines.clip_workload import GenerateWorkload
from videogen_pipelines.config import load_run_config
from videogen_pipelines.engine import Items
from videogen_pipelines.generate import Outcome, generate, make_plan
from videogen_pipelines.inputs import BadRows, ManifestInputs
from videogen_pipelines.job import Job, LoadedModel
from videogen_pipelines.keys import clip_key, meta_key
from videogen_pipelines.manifest import ManifestError
from videogen_pipelines.plan import PlannedClip
from videogen_pipelines.run_directory import RunDirectory

ROWS: list[dict[str, Any]] = [
    {"id": f"clip-{index}", "prompt": "a red circle " + "ab" * index, "seed": index}
    for index in range(4)
]


@dataclass
class InProcess:
    """An engine that makes items one by one, and can be told to stop or to fail some."""

    stop_after: int | None = None
    fail: tuple[str, ...] = ()
    made: list[str] = field(default_factory=list)

    def __call__(self, job: Job, items: Items, listener: Listener) -> bool:
        workload = GenerateWorkload(job.settings())
        workload.setup(RankContext(0, 0, 1, "cpu", 1))
        for item_id, payload in items:
            if self.stop_after == len(self.made):
                return True
            if item_id in self.fail:
                failure = Failure(ErrorClass.NON_FINITE, "NaN in the latents")
                listener.dead_lettered(DeadLettered(item_id, 2, failure))
                continue
            item = {**payload, "id": item_id, "attempt": 1, "degrade": 0}
            record = workload.compute(item, lambda stage, step, total: None)()
            self.made.append(item_id)
            listener.completed(Completed(item_id, 1, record))
        return False


def unreachable(job: Job, items: Items, listener: Listener) -> bool:
    raise AssertionError("there was nothing to make")


MakeJob = Callable[..., Job]


@pytest.fixture
def make_job(tmp_path: Path, tiny_model: Path) -> MakeJob:
    def making(
        rows: list[dict[str, Any]] = ROWS,
        out: str = "out",
        bad_rows: BadRows = "fail",
        settings: tuple[str, ...] = (),
    ) -> Job:
        manifest = tmp_path / "rows.jsonl"
        manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
        config = load_run_config(None, [f"model.name={tiny_model}", *settings])
        model = LoadedModel.read(config.model.name)
        inputs = ManifestInputs(
            str(manifest), model.defaults(config), model.check, bad_rows=bad_rows
        )
        return Job.check(config, model, inputs, str(tmp_path / out))

    return making


def run(job: Job, engine: Any) -> Outcome:
    return generate(job, Console(file=io.StringIO()), engine=engine)


def pixels(out: Path) -> dict[str, np.ndarray]:
    return {path.stem: read_video(path)[0] for path in out.glob("clips/*/*.mp4")}


def errors_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "errors.jsonl").read_text().splitlines()]


def test_every_row_becomes_one_clip_with_sidecar_and_results(make_job: MakeJob, tmp_path: Path):
    engine = InProcess()
    outcome = run(make_job(), engine)
    out = tmp_path / "out"
    assert outcome.state == "complete"
    assert (outcome.counts.rows, outcome.counts.done) == (4, 4)
    assert engine.made == [row["id"] for row in ROWS]
    for row in ROWS:
        info = probe(out / clip_key(row["id"]))
        assert (info.num_frames, info.height, info.width) == (5, 32, 32)
        sidecar = json.loads((out / meta_key(row["id"])).read_text())
        assert sidecar["request"]["prompt"] == row["prompt"]
        assert sidecar["timings"]["denoise_s"] > 0
        assert sidecar["warnings"][0].startswith("prompt: words this model does not know: a")
    table = pq.read_table(out / "results/part-00000.parquet")
    assert table["state"].to_pylist() == ["done"] * 4
    assert (out / "_SUCCESS").exists()
    assert outcome.contact_sheet == "contact_sheet.png"
    assert not (out / ".scratch").exists()


def test_a_stopped_run_is_continued_by_the_same_command(make_job: MakeJob, tmp_path: Path):
    first = run(make_job(), InProcess(stop_after=2))
    assert first.state == "interrupted"
    assert (first.counts.done, first.counts.pending) == (2, 2)
    assert not (tmp_path / "out/_SUCCESS").exists()
    engine = InProcess()
    second = run(make_job(), engine)
    assert engine.made == ["clip-2", "clip-3"]
    assert second.state == "complete"
    assert second.summary.done == 2
    assert second.counts.done == 4


def test_a_finished_run_does_nothing_more(make_job: MakeJob):
    run(make_job(), InProcess())
    assert run(make_job(), unreachable).state == "complete"


def test_pixels_depend_on_the_row_alone(make_job: MakeJob, tmp_path: Path):
    run(make_job(), InProcess())
    run(make_job(rows=ROWS[::-1], out="reordered"), InProcess())
    run(make_job(rows=ROWS[2:3], out="alone"), InProcess())
    run(make_job(out="resumed"), InProcess(stop_after=1))
    run(make_job(out="resumed"), InProcess())
    made = pixels(tmp_path / "out")
    assert len(made) == 4
    assert not np.array_equal(made["clip-0"], made["clip-1"])
    for other in ("reordered", "alone", "resumed"):
        for name, frames in pixels(tmp_path / other).items():
            np.testing.assert_array_equal(frames, made[name], err_msg=f"{other}/{name}")


def test_another_request_under_a_used_id_is_refused_before_any_work(make_job: MakeJob):
    run(make_job(), InProcess())
    changed = [{**ROWS[0], "seed": 99}, *ROWS[1:]]
    with pytest.raises(OutputConflictError, match="clip-0"):
        run(make_job(rows=changed), unreachable)
    with pytest.raises(OutputConflictError, match="clip-0"):
        make_plan(make_job(rows=changed))


def test_bad_rows_are_all_named_and_nothing_is_written(make_job: MakeJob, tmp_path: Path):
    bad = [ROWS[0], {"id": "x", "prompt": 5}, {"id": "y", "prompt": "p", "height": 33}]
    with pytest.raises(ManifestError) as caught:
        make_job(rows=bad)
    assert "line 2" in str(caught.value)
    assert "line 3" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_skipped_rows_end_as_named_failures(make_job: MakeJob, tmp_path: Path):
    bad = [ROWS[0], {"id": "x", "prompt": 5}]
    outcome = run(make_job(rows=bad, bad_rows="skip"), InProcess())
    assert outcome.state == "some_failed"
    assert (outcome.counts.done, outcome.counts.failed) == (1, 1)
    (error,) = errors_of(tmp_path / "out")
    assert error["id"] == "x"
    assert error["error_class"] == "invalid_request"
    assert "prompt" in error["error_message"]
    again = run(make_job(rows=bad, bad_rows="skip"), unreachable)
    assert (again.state, again.counts.failed) == ("some_failed", 1)


def test_a_dead_letter_is_named_and_tried_again_by_the_next_run(make_job: MakeJob, tmp_path: Path):
    outcome = run(make_job(), InProcess(fail=("clip-1",)))
    assert outcome.state == "some_failed"
    (error,) = errors_of(tmp_path / "out")
    assert (error["id"], error["error_class"]) == ("clip-1", "non_finite")
    assert (error["attempts"], error["error_message"]) == (2, "NaN in the latents")
    engine = InProcess()
    assert run(make_job(), engine).state == "complete"
    assert engine.made == ["clip-1"]
    assert errors_of(tmp_path / "out") == []


def test_a_clip_whose_maker_died_before_the_sidecar_is_adopted(make_job: MakeJob, tmp_path: Path):
    run(make_job(), InProcess())
    (tmp_path / "out" / meta_key("clip-2")).unlink()
    assert run(make_job(), unreachable).state == "complete"
    sidecar = json.loads((tmp_path / "out" / meta_key("clip-2")).read_text())
    assert sidecar["warnings"][-1].startswith("adopted")


def test_a_plan_writes_nothing(make_job: MakeJob, tmp_path: Path):
    plan = make_plan(make_job())
    assert (plan.to_do, plan.done) == (4, 0)
    assert not (tmp_path / "out").exists()


def test_an_engine_that_fails_leaves_no_scratch_and_no_lock(make_job: MakeJob, tmp_path: Path):
    def failing(job: Job, items: Items, listener: Listener) -> bool:
        (tmp_path / "out/.scratch/rank").mkdir(parents=True)
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        run(make_job(), failing)
    assert not (tmp_path / "out/.scratch").exists()
    assert run(make_job(), InProcess()).state == "complete"


def test_two_runs_on_one_output_are_refused(make_job: MakeJob):
    job = make_job()
    with RunDirectory(job.storage), pytest.raises(StorageError, match="writing to"):
        run(job, unreachable)


def test_a_rank_with_another_model_refuses_to_work(make_job: MakeJob):
    settings = make_job().settings()
    stamp = settings.stamp.model_copy(update={"digest": "0" * 64})
    workload = GenerateWorkload(type(settings)(**{**vars(settings), "stamp": stamp}))
    with pytest.raises(WeightsError, match="digest"):
        workload.setup(RankContext(0, 0, 1, "cpu", 1))


def test_an_attempt_after_running_out_of_memory_decodes_in_smaller_tiles(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
):
    job = make_job()
    workload = GenerateWorkload(job.settings())
    workload.setup(RankContext(0, 0, 1, "cpu", 1))
    decode = workload._generator.decode_chunk
    asked: list[int] = []
    pictures: list[np.ndarray] = []

    def watched(chunk: Any, cache: Any, num_tiles: int) -> Iterator[np.ndarray]:
        asked.append(num_tiles)
        frames = list(decode(chunk, cache, num_tiles))
        pictures.append(np.concatenate(frames))
        yield from frames

    monkeypatch.setattr(workload._generator, "decode_chunk", watched)
    clip = next(job.rows({}))
    assert isinstance(clip, PlannedClip)
    for degrade in (0, 1, 2, 9):
        item = {"id": clip.request.id, "attempt": degrade + 1, "degrade": degrade}
        workload.compute({**clip.payload(), **item}, lambda *_: None)()
    assert asked == [1, 2, 4, 16]
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)


def test_a_clip_that_was_stored_before_its_gang_died_is_not_made_again(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
):
    job = make_job()
    workload = GenerateWorkload(job.settings())
    workload.setup(RankContext(0, 0, 1, "cpu", 1))
    clip = next(job.rows({}))
    assert isinstance(clip, PlannedClip)
    item = {**clip.payload(), "id": clip.request.id, "attempt": 1, "degrade": 0, "repeat": True}
    first = workload.compute(item, lambda *_: None)()
    monkeypatch.setattr(workload._generator, "stream", unreachable)
    assert workload.compute(item, lambda *_: None)() == first
    for key in job.storage.list("meta/"):
        job.storage.delete(key)  # it died between the clip and its sidecar
    workload.compute(item, lambda *_: None)()
    assert len(list(job.storage.list("meta/"))) == 1


def test_a_decoder_that_fails_leaves_no_file(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch):
    job = make_job()
    workload = GenerateWorkload(job.settings())
    workload.setup(RankContext(0, 0, 1, "cpu", 1))

    def broken(chunk: object, cache: object, num_tiles: int) -> Iterator[np.ndarray]:
        yield np.zeros((1, 32, 32, 3), np.uint8)
        raise RuntimeError("out of memory")

    monkeypatch.setattr(workload._generator, "decode_chunk", broken)
    clip = next(job.rows({}))
    assert isinstance(clip, PlannedClip)
    item = {**clip.payload(), "id": clip.request.id, "attempt": 1, "degrade": 0}
    with pytest.raises(RuntimeError, match="out of memory"):
        workload.compute(item, lambda *_: None)
    assert list(workload._scratch.iterdir()) == []
