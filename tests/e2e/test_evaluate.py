"""`videogen evaluate` as people run it: a run in, a table out, and the same again without work."""

from __future__ import annotations

import io
import json
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


@pytest.fixture
def made(tmp_path: Path, tiny_model: Path) -> Path:
    """A run of three clips, made without Ray."""
    manifest = tmp_path / "rows.jsonl"
    rows = [{"id": f"clip-{n}", "prompt": "a red circle", "seed": n} for n in range(3)]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = load_run_config(None, [f"model.name={tiny_model}"])
    model = LoadedModel.read(config.model.name)
    inputs = ManifestInputs(str(manifest), model.defaults(config), model.check)
    job = Job.check(config, model, inputs, str(tmp_path / "out"))
    generate(job, Console(file=io.StringIO()), engine=one_by_one)
    return tmp_path / "out"


def test_a_run_is_scored_on_ray_with_a_failure_by_name(
    made: Path, start_program: Callable[..., Any]
):
    (victim,) = made.glob("clips/*/clip-1.mp4")
    victim.write_bytes(victim.read_bytes()[:700])
    few = ("--metric", "flicker", "--set", "cluster.max_attempts=1", "--json")
    ended = start_program("evaluate", made, *few).wait()
    assert ended.code == 1, ended.err
    report = json.loads(ended.out)
    assert (report["state"], report["scored_now"], report["exit_code"]) == ("some_failed", 2, 1)
    assert list(report["failures"]) == ["clip-1"]
    assert "3 clips to score" in ended.err
    table = {row["id"]: row for row in pq.read_table(made / "metrics/clips.parquet").to_pylist()}
    assert [row["status"] for row in table.values()] == ["scored", "failed", "scored"]
    assert table["clip-2"]["seed"] == 2
    assert table["clip-2"]["prompt"] == "a red circle"
    assert 0 <= table["clip-2"]["flicker.pixel"] <= 1
    assert (made / table["clip-2"]["curves"]).exists()
