"""Seven kinds of pipelines of diffusers: each runs a manifest of three rows in this process."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file, save_file

from tests.tiny_foreign import KINDS, ROW
from tests.tiny_published import wan_pipeline
from videogen.errors import ConfigError, WeightsError
from videogen.loading import load_generator
from videogen.media import read_video
from videogen_cluster.listener import Listener
from videogen_cluster.scheduler import Completed
from videogen_cluster.workload import RankContext
from videogen_pipelines.clip_workload import GenerateWorkload
from videogen_pipelines.config import load_run_config
from videogen_pipelines.doctor.checks import Status
from videogen_pipelines.doctor.model import check_model
from videogen_pipelines.engine import Items
from videogen_pipelines.generate import Outcome, generate
from videogen_pipelines.inputs import ManifestInputs
from videogen_pipelines.job import Job, LoadedModel
from videogen_pipelines.keys import meta_key
from videogen_pipelines.manifest import ManifestError
from videogen_pipelines.model_summary import find_model

diffusers: Any = pytest.importorskip("diffusers")
PROMPTS = ("a red circle", "a blue square", "a red circle")
Written = Callable[[str], str]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Writes a pipeline once and returns its name."""
    root, names = tmp_path_factory.mktemp("pipelines"), {}

    def writing(kind: str) -> str:
        if kind not in names:
            names[kind] = KINDS[kind](root / kind.replace(" ", "-"))
        return names[kind]

    return writing


class InProcess:
    """An engine that makes items one by one, and may stop after some."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.made: list[str] = []
        self.beats: list[tuple[str, int, int]] = []

    def __call__(self, job: Job, items: Items, listener: Listener) -> bool:
        workload = GenerateWorkload(job.settings())
        workload.setup(RankContext(0, 0, 1, "cpu", 1))
        for item_id, payload in items:
            if len(self.made) == self.stop_after:
                return True
            item = {**payload, "id": item_id, "attempt": 1, "degrade": 0}
            finish = workload.compute(item, lambda *beat: self.beats.append(beat))
            self.made.append(item_id)
            listener.completed(Completed(item_id, 1, finish()))
        return False


def rows_of(kind: str, **fields: Any) -> list[dict[str, Any]]:
    said = {"num_inference_steps": 2, **ROW[kind], **fields}
    return [{"id": f"row-{i}", "prompt": prompt, **said} for i, prompt in enumerate(PROMPTS)]


def job_of(folder: Path, model: str, rows: list[dict[str, Any]], *settings: str) -> Job:
    manifest = folder / "rows.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = load_run_config(None, [f"model.name={model}", "output.contact_sheet=false", *settings])
    found = LoadedModel.read(config.model.name)
    inputs = ManifestInputs(str(manifest), found.defaults(config), found.check)
    return Job.check(config, found, inputs, str(folder / "out"))


def run(job: Job, engine: InProcess) -> Outcome:
    return generate(job, Console(file=io.StringIO()), engine=engine)


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_manifest_of_three_rows(written: Written, tmp_path: Path, kind: str):
    engine = InProcess()
    job = job_of(tmp_path, written(kind), rows_of(kind))
    assert run(job, engine).state == "complete"
    frames = {path.stem: read_video(path)[0] for path in tmp_path.glob("out/clips/*/*.mp4")}
    assert set(frames) == {"row-0", "row-1", "row-2"}
    size = ROW[kind].get("num_frames", 1), ROW[kind].get("height", 32), ROW[kind].get("width", 32)
    assert {clip.shape for clip in frames.values()} == {(*size, 3)}
    assert (frames["row-0"] != frames["row-1"]).any()
    assert (frames["row-0"] != frames["row-2"]).any(), "rows have a seed of their own"
    sidecar = json.loads((tmp_path / "out" / meta_key("row-0")).read_text())
    assert sidecar["versions"]["diffusers"] == diffusers.__version__
    assert sidecar["model"]["digest"] == job.model.spec.digest
    steps = 4 if kind == "DeepFloyd IF" else 2
    assert ("denoise", steps, steps) in engine.beats


def test_frames_are_those_of_the_pipeline_called_by_hand(written: Written):
    name = written("Wan")
    said = {"num_inference_steps": 3, "guidance_scale": 4.0, **ROW["Wan"]}
    clip = load_generator(name, "cpu")("a red circle", negative_prompt="blue", seed=7, **said)
    theirs = diffusers.WanPipeline.from_pretrained(name.removeprefix("diffusers:"))
    theirs.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(7)
    output = theirs("a red circle", "blue", generator=generator, output_type="np", **said)
    expected = (output.frames[0] * 255).round().astype(np.uint8)
    np.testing.assert_array_equal(clip.to_array(), expected)


def test_a_stopped_run_goes_on_and_clips_are_scored(written: Written, tmp_path: Path):
    def job() -> Job:
        return job_of(tmp_path, written("LTX"), rows_of("LTX"), "evaluate.during=true")

    first = InProcess(stop_after=1)
    assert run(job(), first).state == "interrupted"
    second = InProcess()
    assert run(job(), second).state == "complete"
    assert (first.made, second.made) == (["row-0"], ["row-1", "row-2"])
    scores = pq.read_table(tmp_path / "out/metrics/clips.parquet")
    assert scores.num_rows == 3
    assert len(scores.column_names) > 5


def test_a_row_that_asks_for_more_is_named_with_its_field(written: Written, tmp_path: Path):
    rows = rows_of("Stable Diffusion")
    rows[1]["num_frames"] = 5
    rows[2]["sampler"] = "heun"
    with pytest.raises(ManifestError) as caught:
        job_of(tmp_path, written("Stable Diffusion"), rows)
    said = str(caught.value)
    assert "line 2: num_frames: got 5, expected 1, because StableDiffusionPipeline does not" in said
    assert "line 3: sampler: got 'heun'" in said
    rows = rows_of("HunyuanVideo")
    rows[1]["negative_prompt"] = "blur"
    with pytest.raises(ManifestError) as caught:
        job_of(tmp_path, written("HunyuanVideo"), rows)
    assert "line 2: negative_prompt: got one" in str(caught.value)
    assert "line 3" not in str(caught.value)


def test_a_pipeline_that_starts_from_a_picture_gets_the_row_s(tmp_path: Path):
    wan_pipeline(tmp_path / "pipeline", image=True)
    Image.new("RGB", (60, 40), "red").save(tmp_path / "start.png")
    rows = rows_of("Wan", image="start.png")[:1]
    model = f"diffusers:{tmp_path / 'pipeline'}"
    with pytest.raises(ManifestError, match="image: missing, expected the picture to start with"):
        job_of(tmp_path, model, rows_of("Wan"))
    assert run(job_of(tmp_path, model, rows), InProcess()).state == "complete"
    frames, _ = read_video(next(tmp_path.glob("out/clips/*/*.mp4")))
    assert frames.shape == (5, 32, 48, 3)


def test_one_rank_per_gang_and_no_choice_of_kernel(written: Written, tmp_path: Path):
    name, rows = written("Stable Diffusion"), rows_of("Stable Diffusion")
    with pytest.raises(ConfigError, match=r"cluster\.gang\.seq_degree: got 2, expected 1"):
        job_of(tmp_path, name, rows, "cluster.gang.seq_degree=2")
    with pytest.raises(ConfigError, match=r"cluster\.gang\.weights: got 'sharded'"):
        job_of(tmp_path, name, rows, "cluster.gang.weights=sharded")
    assert job_of(
        tmp_path, name, rows, "cluster.gang.seq_degree=auto"
    ).config.cluster.gang.is_single
    with pytest.raises(ConfigError, match=r"model\.attention"):
        load_generator(name, "cpu", attention="xformers")
    with pytest.raises(ConfigError, match=r"model\.cpu_offload: got true on the CPU"):
        load_generator(name, "cpu", cpu_offload=True)
    with pytest.raises(ConfigError, match=r"model\.vae_tiling: got true for default"):
        load_generator("default", "cpu", vae_tiling=True)
    with pytest.raises(ConfigError, match="what a pipeline of diffusers costs is not known"):
        find_model(name)


def test_doctor_says_what_was_found(written: Written):
    finding = check_model(written("DeepFloyd IF"))
    assert finding.status is Status.OK
    for part in ("IFPipeline", "IFSuperResolutionPipeline", "makes 16×16", "makes 32×32"):
        assert part in finding.found
    assert diffusers.__version__ in finding.found


def test_a_second_stage_has_to_go_on_from_a_picture(written: Written):
    twice = f"{written('Stable Diffusion')}+{written('Stable Diffusion')[len('diffusers:') :]}"
    with pytest.raises(ConfigError, match="takes no image"):
        LoadedModel.read(twice)


def test_other_files_are_another_model(written: Written, tmp_path: Path):
    name = written("Stable Diffusion")
    before = LoadedModel.read(name)
    copy = tmp_path / "copy"
    shutil.copytree(name.removeprefix("diffusers:"), copy)
    assert LoadedModel.read(f"diffusers:{copy}").spec.digest == before.spec.digest
    weights = copy / "vae/diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert LoadedModel.read(f"diffusers:{copy}").spec.digest != before.spec.digest
    for part in ("unet/diffusion_pytorch_model", "text_encoder/model"):
        path = copy / f"{part}.safetensors"
        whole = path.read_bytes()
        tensors = load_file(path)
        tensors.popitem()
        save_file(tensors, path, metadata={"format": "pt"})
        with pytest.raises(WeightsError, match="without weights that their configuration"):
            load_generator(f"diffusers:{copy}", "cpu")
        path.write_bytes(whole)
    config = copy / "unet/config.json"
    config.write_text(config.read_text().replace('"CrossAttnUpBlock2D"', '"NoSuchBlock"'))
    with pytest.raises(WeightsError, match=r"cannot be loaded: .*NoSuchBlock"):
        load_generator(f"diffusers:{copy}", "cpu")
