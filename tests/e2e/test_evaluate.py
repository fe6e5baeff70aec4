"""`videogen evaluate` as people run it: killed, started again, a table out, a failure named."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from videogen_cluster.listener import Listener
from videogen_cluster.scheduler import Completed
from videogen_cluster.workload import RankContext
from videogen_pipelines.clip_workload import GenerateWorkload
from videogen_pipelines.config import load_run_config
from videogen_pipelines.engine import Items
from videogen_pipelines.generate import generate
from videogen_pipelines.inputs import ManifestInputs
from videogen_pipelines.job import Job, LoadedModel

pytestmark = [pytest.mark.e2e, pytest.mark.cluster]


def one_by_one(job: Job, items: Items, listener: Listener) -> bool:
    workload = GenerateWorkload(job.settings())
    workload.setup(RankContext(0, 0, 1, "cpu", 1))
    for name, payload in items:
        item = {**payload, "id": name, "attempt": 1, "degrade": 0}
        listener.completed(Completed(name, 1, workload.compute(item, lambda *_: None)()))
    return False


NUM_CLIPS = 8


@pytest.fixture
def made(tmp_path: Path, tiny_model: Path) -> Path:
    """A run of eight clips, made without Ray."""
    manifest = tmp_path / "rows.jsonl"
    same = {"prompt": "a red circle", "num_frames": 25}
    rows = [{"id": f"clip-{n}", "seed": n, **same} for n in range(NUM_CLIPS)]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = load_run_config(None, [f"model.name={tiny_model}"])
    model = LoadedModel.read(config.model.name)
    inputs = ManifestInputs(str(manifest), model.defaults(config), model.check)
    job = Job.check(config, model, inputs, str(tmp_path / "out"))
    generate(job, Console(file=io.StringIO()), engine=one_by_one)
    return tmp_path / "out"


def scores(out: Path) -> dict[str, int]:
    """Every stored score, and when it was written."""
    return {path.name: path.stat().st_mtime_ns for path in out.glob("metrics/scores/*/*/*.json")}


@pytest.mark.chaos
def test_a_run_is_scored_on_ray_killed_and_gone_on_with(
    made: Path, start_program: Callable[..., Any]
):
    (victim,) = made.glob("clips/*/clip-1.mp4")
    victim.write_bytes(victim.read_bytes()[:700])
    command = ("evaluate", made, "--gangs", "1", "--set", "cluster.max_attempts=1", "--json")
    killed = start_program(*command)
    killed.wait_until(lambda: len(scores(made)) >= 2)
    os.killpg(killed.process.pid, signal.SIGKILL)
    killed.process.wait()
    assert not (made / "metrics/clips.parquet").exists()
    before = scores(made)
    assert 2 <= len(before) < NUM_CLIPS - 1

    ended = start_program(*command).wait()
    assert ended.code == 1, ended.err
    report = json.loads(ended.out)
    assert (report["state"], report["exit_code"]) == ("some_failed", 1)
    assert list(report["failures"]) == ["clip-1"]
    after = scores(made)
    assert before.items() <= after.items(), "a stored score changed"
    assert report["scored_now"] == len(after) - len(before)
    assert len(after) == NUM_CLIPS - 1
    table = {row["id"]: row for row in pq.read_table(made / "metrics/clips.parquet").to_pylist()}
    assert [name for name, row in table.items() if row["status"] != "scored"] == ["clip-1"]
    assert table["clip-2"]["seed"] == 2
    assert table["clip-2"]["prompt"] == "a red circle"
    assert 0 <= table["clip-2"]["flicker.pixel"] <= 1
    assert (made / table["clip-2"]["curves"]).exists()
