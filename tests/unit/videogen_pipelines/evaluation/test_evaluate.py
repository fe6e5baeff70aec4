"""The program `evaluate` with an engine in this process: scores, resuming, failures, the tables."""

from __future__ import annotations

import io
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from tests.s3.server import S3Server
from videogen.errors import ConfigError, StorageError
from videogen.evaluation import Evaluator
from videogen.evaluation.sets import frechet_distance
from videogen.media import read_video, write_video
from videogen.storage import LocalStorage, open_storage
from videogen_cluster.failures import describe
from videogen_cluster.listener import Listener
from videogen_cluster.scheduler import Completed, DeadLettered
from videogen_cluster.workload import RankContext
from videogen_pipelines.engine import Items
from videogen_pipelines.evaluation.evaluate import EvaluationOutcome, evaluate
from videogen_pipelines.evaluation.job import EvaluationJob
from videogen_pipelines.evaluation.sets_table import sets_table, warnings_of
from videogen_pipelines.evaluation.workload import EvaluateWorkload

FAST = ("evaluate.metrics=[flicker.luma, frame.colourfulness, drift.color, text.clip]",)


@dataclass
class InProcess:
    """An engine that scores items one by one in an order of its own, and can be stopped."""

    stop_after: int | None = None
    order: int = 0
    scored: list[str] = field(default_factory=list)

    def __call__(self, job: EvaluationJob, items: Items, listener: Listener, to_do: int) -> bool:
        workload = EvaluateWorkload(job.task())
        workload.setup(RankContext(0, 0, 1, "cpu", 1))
        waiting = list(items)
        assert len(waiting) == to_do
        random.Random(self.order).shuffle(waiting)
        for name, payload in waiting:
            if self.stop_after == len(self.scored):
                return True
            item = {**payload, "id": name, "attempt": 1, "degrade": 0}
            try:
                record = workload.compute(item, lambda stage, step, total: None)()
            except Exception as error:  # noqa: BLE001 - as an engine does
                listener.dead_lettered(DeadLettered(name, 1, describe(error)))
            else:
                self.scored.append(name)
                listener.completed(Completed(name, 1, record))
        return False


def unreachable(job: EvaluationJob, items: Items, listener: Listener, to_do: int) -> bool:
    raise AssertionError("there was nothing to score")


def run(folder: Path, out: Path, engine: Any, *settings: str) -> EvaluationOutcome:
    job = EvaluationJob.check(str(folder), str(out), None, [*FAST, *settings])
    return evaluate(job, Console(file=io.StringIO()), engine=engine)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number, name in enumerate(["plain.mp4", "sub/My clip (1).mp4", "other.mp4"]):
        (folder / name).parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 255, (6, 32, 48, 3), np.uint8)
        write_video(folder / name, iter([noise]), fps=8, metadata={"prompt": f"number {number}"})
    return folder


def rows(out: Path) -> list[dict[str, Any]]:
    return pq.read_table(out / "metrics/clips.parquet").to_pylist()


def test_every_video_of_a_folder_is_a_row_with_its_numbers_and_curves(videos: Path, tmp_path: Path):
    outcome = run(videos, tmp_path, InProcess())
    assert (outcome.state, outcome.clips, outcome.scored_now) == ("complete", 3, 3)
    table = {row["key"]: row for row in rows(tmp_path)}
    assert set(table) == {"plain.mp4", "sub/My clip (1).mp4", "other.mp4"}
    assert table["plain.mp4"]["id"] == "plain"
    assert table["sub/My clip (1).mp4"]["id"].startswith("sub-My-clip-1-")
    row = table["plain.mp4"]
    frames, fps = read_video(videos / "plain.mp4")
    expected = Evaluator(["flicker.luma", "frame.colourfulness"]).evaluate(frames, fps)
    for name in ("flicker.luma", "frame.colourfulness"):
        assert row[name] == pytest.approx(expected[name].value)
        assert row[f"{name}.worst_frame"] == expected[name].worst_frame
    assert (row["prompt"], row["num_frames"], row["fps"]) == ("number 0", 6, 8.0)
    assert (row["measured_on"], row["status"], row["seed"]) == ("file", "scored", None)
    assert row["text.clip"] is None
    assert "needs weights.clip" in json.loads(row["skipped"])["text.clip"]
    curves = json.loads((tmp_path / row["curves"]).read_text())
    assert (curves["id"], curves["fps"]) == ("plain", 8.0)
    luma = np.array(curves["curves"]["flicker.luma"], np.float64)  # null becomes NaN
    curve = expected["flicker.luma"].curve
    assert curve is not None
    np.testing.assert_allclose(luma, curve, rtol=1e-5)
    assert not list(videos.glob("metrics*"))


def test_what_is_interrupted_resumes_and_order_changes_no_number(videos: Path, tmp_path: Path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(videos, whole, InProcess(order=1))
    first = InProcess(stop_after=1, order=2)
    outcome = run(videos, parts, first)
    assert (outcome.state, outcome.summary) == ("interrupted", None)
    assert not (parts / "metrics/clips.parquet").exists()
    second = InProcess(order=3)
    assert run(videos, parts, second).state == "complete"
    assert sorted(first.scored + second.scored) == sorted(row["id"] for row in rows(whole))
    for name in ("summary.json", "clips.parquet"):
        assert (parts / "metrics" / name).read_bytes() == (whole / "metrics" / name).read_bytes()
    assert run(videos, parts, unreachable).scored_now == 0


def test_other_metrics_are_another_measure_and_a_changed_file_is_scored_again(
    videos: Path, tmp_path: Path
):
    run(videos, tmp_path, InProcess())
    other = InProcess()
    run(videos, tmp_path, other, "evaluate.size=64")
    assert len(other.scored) == 3
    changed = tmp_path / "changed"
    changed.mkdir()
    (changed / "plain.mp4").write_bytes((videos / "plain.mp4").read_bytes())
    run(changed, tmp_path / "out", InProcess())
    (changed / "plain.mp4").write_bytes((videos / "other.mp4").read_bytes())
    again = InProcess()
    run(changed, tmp_path / "out", again)
    assert again.scored == ["plain"]
    assert [row["prompt"] for row in rows(tmp_path / "out")] == ["number 2"]


def test_a_damaged_video_is_a_named_failure_and_does_not_stop_the_others(
    videos: Path, tmp_path: Path
):
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "good.mp4").write_bytes((videos / "plain.mp4").read_bytes())
    (folder / "torn.mp4").write_bytes((videos / "other.mp4").read_bytes()[:900])
    outcome = run(folder, tmp_path / "out", InProcess())
    assert outcome.state == "some_failed"
    good, torn = rows(tmp_path / "out")
    assert (good["status"], good["error"]) == ("scored", None)
    assert (torn["status"], torn["frame.colourfulness"]) == ("failed", None)
    assert torn["error"].startswith("encode: ")
    assert "torn.mp4" in torn["error"]
    assert outcome.summary["failures"] == {"torn": torn["error"]}
    assert (outcome.summary["scored"], outcome.summary["failed"]) == (1, 1)


def test_the_summary_says_what_was_measured_and_what_was_not(videos: Path, tmp_path: Path):
    summary = run(videos, tmp_path, InProcess()).summary
    assert summary == json.loads((tmp_path / "metrics/summary.json").read_text())
    contrast = summary["metrics"]["frame.colourfulness"]
    values = [row["frame.colourfulness"] for row in rows(tmp_path)]
    assert contrast["count"] == 3
    assert contrast["mean"] == pytest.approx(np.mean(values))
    assert contrast["p5"] == pytest.approx(np.quantile(values, 0.05))
    assert summary["source"] == {"kind": "folder", "uri": str(videos)}
    assert sum(summary["skipped"]["text.clip"].values()) == 3
    assert summary["size"] == 128
    assert "numpy" in summary["versions"]


def test_mistakes_are_found_before_any_work(videos: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"got 'flicker\.lumma'"):
        EvaluationJob.check(str(videos), None, None, ["evaluate.metrics=[flicker.lumma]"])
    with pytest.raises(ConfigError, match=r"evaluate\.sizes: unknown field"):
        EvaluationJob.check(str(videos), None, None, ["evaluate.sizes=3"])
    with pytest.raises(StorageError, match="got no run and no video"):
        EvaluationJob.check(str(tmp_path), None, None, [])


def test_a_clip_in_a_bucket_that_changes_at_the_same_size_is_another_version(s3_env: S3Server):
    from videogen_pipelines.evaluation.sources import FolderSource

    bucket = open_storage(s3_env.uri("videos"))
    bucket.put("a.mp4", b"one")
    (before,) = FolderSource(bucket).clips()
    bucket.put("a.mp4", b"two")
    (after,) = FolderSource(bucket).clips()
    assert before.version != after.version
    assert [clip.version for clip in FolderSource(bucket).clips()] == [after.version]


def test_files_of_one_name_keep_apart_by_their_endings(videos: Path, tmp_path: Path):
    from videogen_pipelines.evaluation.sources import FolderSource

    for name in ("a.mp4", "a.mov", "b.mp4", "-.mp4"):
        (tmp_path / name).write_bytes(b"x")
    ids = FolderSource(LocalStorage(tmp_path)).ids
    assert len(ids) == 4
    assert {"a.mp4", "a.mov", "b"} < set(ids)


def test_clips_and_scores_may_be_in_an_object_store(videos: Path, s3_env: S3Server):
    source = open_storage(s3_env.uri("evaluate-in"))
    source.create("a/b.mp4", videos / "plain.mp4")
    out = s3_env.uri("evaluate-out")
    job = EvaluationJob.check(source.uri, out, None, FAST)
    assert evaluate(job, Console(file=io.StringIO()), engine=InProcess()).state == "complete"
    target = open_storage(out)
    (row,) = pq.read_table(io.BytesIO(target.read("metrics/clips.parquet"))).to_pylist()
    assert row["frame.colourfulness"] > 0
    assert target.exists(row["curves"])
    assert evaluate(job, Console(file=io.StringIO()), engine=unreachable).scored_now == 0


@pytest.fixture(scope="module")
def copies(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference: one clip the same, one with two of six frames black, one of another id."""
    folder = tmp_path_factory.mktemp("copies")
    (folder / "plain.mp4").write_bytes((videos / "plain.mp4").read_bytes())
    frames, fps = read_video(videos / "other.mp4")
    frames = frames.copy()
    frames[2:4] = 0
    write_video(folder / "other.mp4", iter([frames]), fps=fps)
    write_video(folder / "third.mp4", iter([255 - frames]), fps=fps)
    return folder


def features(folder: Path) -> np.ndarray:
    evaluator = Evaluator((), feature=True)
    measured = [evaluator.evaluate(*read_video(path)) for path in folder.rglob("*.mp4")]
    return np.stack([m.feature for m in measured if m.feature is not None])


def test_sets_are_compared_with_a_reference_and_pairs_by_id(
    videos: Path, copies: Path, tmp_path: Path
):
    job = EvaluationJob.check(str(videos), str(tmp_path), None, FAST, str(copies))
    engine = InProcess()
    summary = evaluate(job, Console(file=io.StringIO()), engine=engine).summary
    assert len(engine.scored) == 6
    sets = json.loads((tmp_path / "metrics/sets.json").read_text())
    expected = frechet_distance(features(videos), features(copies))
    found = sets["all"][expected.name]
    assert found["value"] == pytest.approx(expected.value, rel=1e-3)
    assert (found["num_clips"], "below 256" in found["warnings"][0]) == (3, True)
    assert sets["reference"] == {"uri": str(copies), "clips": 3, "failures": {}}
    pairs = sets["pairs"]
    assert (pairs["count"], pairs["unpaired"], pairs["failed"]) == (2, 1, {})
    assert pairs["clips"]["plain"] == {"ref.psnr": 100.0, "ref.ssim": 1.0}
    assert pairs["clips"]["other"]["ref.psnr"] < 20
    assert pairs["metrics"]["ref.psnr"]["max"] == 100
    assert summary["sets"] == sets | {"pairs": {k: v for k, v in pairs.items() if k != "clips"}}
    text = io.StringIO()
    Console(file=text, width=100).print(sets_table(summary["sets"]))
    assert "2 pairs" in text.getvalue()
    assert "below 256" in text.getvalue()
    before = (tmp_path / "metrics/sets.json").read_bytes()
    evaluate(job, Console(file=io.StringIO()), engine=unreachable)
    assert (tmp_path / "metrics/sets.json").read_bytes() == before


def test_pairs_of_other_lengths_and_torn_references_are_named(videos: Path, tmp_path: Path):
    reference = tmp_path / "reference"
    reference.mkdir()
    frames, fps = read_video(videos / "plain.mp4")
    write_video(reference / "plain.mp4", iter([frames[:4]]), fps=fps)
    (reference / "torn.mp4").write_bytes((videos / "other.mp4").read_bytes()[:900])
    job = EvaluationJob.check(str(videos), str(tmp_path / "out"), None, FAST, str(reference))
    outcome = evaluate(job, Console(file=io.StringIO()), engine=InProcess())
    sets = outcome.summary["sets"]
    assert outcome.state == "complete"
    assert "longer than the other" in sets["pairs"]["failed"]["plain"]
    assert "torn.mp4" in sets["reference"]["failures"]["torn"]
    assert len(warnings_of(sets)) == 2
