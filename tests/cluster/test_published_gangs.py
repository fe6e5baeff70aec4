"""A published model in a gang of four ranks on a real local Ray makes the clips of one rank."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.tiny_published import wan_pipeline
from videogen.media import read_video
from videogen_cluster.driver import Driver, EngineOptions
from videogen_cluster.limits import Limits
from videogen_cluster.listener import Listener
from videogen_cluster.placement import Layout
from videogen_cluster.session import Cluster
from videogen_cluster.workload import RankContext
from videogen_pipelines.clip_workload import GenerateWorkload
from videogen_pipelines.config import load_run_config
from videogen_pipelines.inputs import ManifestInputs
from videogen_pipelines.job import Job, LoadedModel
from videogen_pipelines.plan import PlannedClip
from videogen_pipelines.sidecar import Sidecar, find_sidecar

pytestmark = pytest.mark.cluster

ROW: dict[str, Any] = {"prompt": "a red circle", "seed": 1, "image": "start.png"}
SMALL = ROW | {"height": 32, "width": 48, "num_inference_steps": 2}
ROWS = [
    SMALL | {"id": "short", "num_frames": 6},
    SMALL | {"id": "long", "num_frames": 14, "chunk_frames": 9},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("diffusers")
    root = tmp_path_factory.mktemp("published")
    wan_pipeline(root / "wan-i2v", image=True)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "start.png")
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return root


def job_of(folder: Path, out: str, *settings: str) -> Job:
    config = load_run_config(None, [f"model.name={folder / 'wan-i2v'}", "output.crf=0", *settings])
    model = LoadedModel.read(config.model.name)
    inputs = ManifestInputs(str(folder / "rows.jsonl"), model.defaults(config), model.check)
    return Job.check(config, model, inputs, str(folder / out))


def items_of(job: Job) -> dict[str, dict[str, Any]]:
    return {row.request.id: row.payload() for row in job.rows({}) if isinstance(row, PlannedClip)}


def clip_of(job: Job, name: str) -> tuple[np.ndarray, Sidecar]:
    sidecar = find_sidecar(job.storage, name)
    assert sidecar is not None
    return read_video(Path(job.storage.uri) / sidecar.key)[0].astype(int), sidecar


def test_four_ranks_chain_clips_of_wan(cluster: Cluster, folder: Path) -> None:
    alone = job_of(folder, "alone")
    workload = GenerateWorkload(alone.settings())
    workload.setup(RankContext(0, 0, 1, "cpu", 1))
    for name, payload in items_of(alone).items():
        workload.compute({**payload, "id": name, "attempt": 1, "degrade": 0}, lambda *_: None)()

    job = job_of(folder, "gang", "cluster.gang.seq_degree=2", "cluster.gang.cfg_degree=2")
    layout = Layout(job.config.cluster.gang.world_size, 1, cpus_per_rank=1.0)
    engine = EngineOptions(Limits(backoff_s=0.1), poll_s=0.05)
    work = GenerateWorkload(job.settings())
    report = Driver(work, layout, cluster, engine, Listener()).run(items_of(job).items())
    assert (report.completed, report.gangs_lost) == (2, 0)
    for row in ROWS:
        (ours, made), (theirs, one) = (clip_of(each, row["id"]) for each in (job, alone))
        assert ours.shape == (row["num_frames"], 32, 48, 3)
        assert np.abs(ours - theirs).max() <= 2, row["id"]
        assert (ours != theirs).mean() < 0.01
        assert made.clip_id == one.clip_id
        assert made.parallel is not None
        assert (made.parallel.seq_degree, made.parallel.cfg_degree) == (2, 2)
    chunks = clip_of(job, "long")[1].chunks
    assert chunks is not None and (chunks.method, chunks.count) == ("chained", 2)
