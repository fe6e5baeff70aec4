"""Manifests of published models: found, checked, planned and made as those of the project's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import videogen
from tests.tiny_published import wan_pipeline
from videogen.errors import ConfigError, InvalidRequestError, WeightsError
from videogen.media import read_video, write_video
from videogen.media.start import read_picture
from videogen_cluster.workload import RankContext
from videogen_pipelines.cli.app import app
from videogen_pipelines.clip_workload import GenerateWorkload
from videogen_pipelines.config import load_run_config
from videogen_pipelines.doctor.model import check_model
from videogen_pipelines.inputs import ManifestInputs
from videogen_pipelines.job import Job, LoadedModel
from videogen_pipelines.plan import PlannedClip
from videogen_pipelines.sidecar import find_sidecar

pytest.importorskip("diffusers")

CONFIGS = Path(__file__).parents[3] / "configs" / "published"
SMALL: dict[str, Any] = {"prompt": "a red circle", "height": 32, "width": 48, "seed": 1}
ROWS: list[dict[str, Any]] = [
    {"id": "short", "num_frames": 5, "num_inference_steps": 1, **SMALL},
    {"id": "long", "num_frames": 12, "chunk_frames": 9, "num_inference_steps": 1, **SMALL},
    {"id": "wide", "num_frames": 1, **SMALL, "height": 720, "width": 1280},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("published")
    wan_pipeline(root / "wan-i2v", image=True)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "start.png")
    return root


def job_of(folder: Path, out: Path, rows: list[dict[str, Any]], *settings: str) -> Job:
    manifest = folder / "rows.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = f"model.name={folder / 'wan-i2v'}"
    config = load_run_config(None, [model, "output.crf=0", *settings])
    loaded = LoadedModel.read(config.model.name)
    inputs = ManifestInputs(str(manifest), loaded.defaults(config), loaded.check)
    return Job.check(config, loaded, inputs, str(out))


def test_rows_become_clips_that_start_from_their_picture(folder: Path, tmp_path: Path) -> None:
    job = job_of(folder, tmp_path / "out", [{**row, "image": "start.png"} for row in ROWS])
    clips = {c.request.id: c for c in job.rows({}) if isinstance(c, PlannedClip)}
    assert [clip.request.flow_shift for clip in clips.values()] == [3.0, 3.0, 5.0]
    workload = GenerateWorkload(job.settings())
    workload.setup(RankContext(0, 0, 1, "cpu", 1))
    generator = videogen.load(folder / "wan-i2v", device="cpu")
    for name in ("short", "long"):
        item = {**clips[name].payload(), "id": name, "attempt": 1, "degrade": 0}
        workload.compute(item, lambda *_: None)()
        sidecar = find_sidecar(job.storage, name)
        assert sidecar is not None
        assert (sidecar.chunks is None) == (name == "short")
        start = read_picture(folder / "start.png", 32, 48)
        request, cache = clips[name].request, {}
        chunks = generator.stream(request, start=start)
        frames = [f for chunk in chunks for f in generator.decode_chunk(chunk, cache)]
        write_video(tmp_path / "expected.mp4", frames, fps=request.fps, crf=0)
        made = read_video(tmp_path / "out" / sidecar.key)[0]
        assert made.shape == (request.num_frames, 32, 48, 3)
        assert np.array_equal(made, read_video(tmp_path / "expected.mp4")[0])


def test_a_row_without_a_picture_is_named_before_any_work(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"line 1: image: got none, expected the picture"):
        job_of(folder, tmp_path / "out", ROWS[:1])


def test_a_dry_run_and_a_plan_cost_it(folder: Path, tmp_path: Path) -> None:
    rows = [{**row, "image": "start.png"} for row in ROWS]
    job_of(folder, tmp_path / "out", rows)
    model = str(folder / "wan-i2v")
    options = [str(folder / "rows.jsonl"), "--model", model, "--json"]
    gang = ["--set", "cluster.gang.seq_degree=2", "--out", str(tmp_path / "out"), "--dry-run"]
    found = json.loads(CliRunner().invoke(app, ["generate", *options, *gang]).stdout)
    assert found["to_do"] == 3 and found["flops"] > 1e6
    assert found["gang"]["rank_bytes"] < found["gang"]["alone_bytes"]
    plan = CliRunner().invoke(app, ["plan", "--model", model, "--gpus", "2", "--json"])
    assert json.loads(plan.stdout)["best"]["memory"]["decode"] > 0
    named = "wan-i2v (Wan 2.1, image to video)"
    assert found["model"] == named and named in check_model(model).found


@pytest.mark.parametrize("command", ["generate", "plan", "doctor"])
def test_a_folder_that_is_not_whole_is_one_error(
    folder: Path, tmp_path: Path, command: str
) -> None:
    damaged = Path(shutil.copytree(folder / "wan-i2v", tmp_path / "damaged"))
    weights = damaged / "text_encoder" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    if command == "doctor":
        with pytest.raises(WeightsError, match=r"text_encoder/model\.safetensors: cannot be read"):
            check_model(str(damaged))
        return
    arguments = ["--prompt", "a", "--out", str(tmp_path / "out")] if command == "generate" else []
    result = CliRunner().invoke(app, [command, "--model", str(damaged), *arguments])
    assert isinstance(result.exception, WeightsError)
    assert "text_encoder/model.safetensors: cannot be read" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_schedule_that_is_not_supported_is_refused(folder: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(folder / "wan-i2v", tmp_path / "changed"))
    path = changed / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"solver_order": 3}))
    with pytest.raises(ConfigError, match="solver_order: got 3, expected 2"):
        LoadedModel.read(str(changed))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_configurations_to_copy_load(path: Path) -> None:
    assert load_run_config(path).model.name.startswith("/models/")
