"""`kill -9` inside one long clip: of the program, then of a rank. Its frames stay the same."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from videogen.media import read_video
from videogen.storage import LocalStorage
from videogen_cluster.workload import RankContext
from videogen_pipelines.clip_workload import GenerateWorkload
from videogen_pipelines.config import load_run_config
from videogen_pipelines.inputs import ManifestInputs
from videogen_pipelines.job import Job, LoadedModel
from videogen_pipelines.partials import stored_partials
from videogen_pipelines.plan import PlannedClip

NUM_FRAMES = 81
ROW = {"id": "a", "prompt": "a red circle", "num_frames": NUM_FRAMES, "num_inference_steps": 12}


def frames_of_one_go(model: Path, manifest: Path, out: Path) -> np.ndarray:
    """The clip as a rank makes it that nobody disturbs."""
    config = load_run_config(None, [f"model.name={model}"])
    loaded = LoadedModel.read(config.model.name)
    inputs = ManifestInputs(str(manifest), loaded.defaults(config), loaded.check)
    job = Job.check(config, loaded, inputs, str(out))
    workload = GenerateWorkload(job.settings())
    workload.setup(RankContext(0, 0, 1, "cpu", 1))
    (clip,) = job.rows({})
    assert isinstance(clip, PlannedClip)
    item = {**clip.payload(), "id": "a", "attempt": 1, "degrade": 0}
    workload.compute(item, lambda *_: None)()
    return frames_of(out)


def frames_of(out: Path) -> np.ndarray:
    (path,) = out.glob("clips/*/a.mp4")
    return read_video(path)[0]


def chunks_stored(out: Path) -> int:
    """The number of chunks that are complete: the last state tells."""
    places = [place for _, parts in stored_partials(LocalStorage(out)) for place in parts]
    states = [place.chunk + 1 for place in places if place.kind == "safetensors"]
    return max(states, default=0)


def sha256(frames: np.ndarray) -> str:
    return hashlib.sha256(frames.tobytes()).hexdigest()


@pytest.mark.chaos
@pytest.mark.cluster
@pytest.mark.timeout(300)
def test_a_clip_that_is_killed_goes_on_from_its_last_chunk(
    start_program: Callable[..., Any], tiny_model: Path, tmp_path: Path
):
    manifest = tmp_path / "rows.jsonl"
    manifest.write_text(json.dumps(ROW))
    whole, out = tmp_path / "whole", tmp_path / "out"
    command = ("generate", manifest, "--out", out, "--model", tiny_model, "--gangs", "1", "--json")

    program = start_program(*command)
    program.wait_until(lambda: chunks_stored(out) >= 3)
    os.killpg(program.process.pid, signal.SIGKILL)
    program.process.wait()
    first = chunks_stored(out)
    assert 3 <= first < 17, "the clip was made before it could be killed"

    program = start_program(*command)
    program.wait_until(lambda: chunks_stored(out) >= first + 2)
    ranks = [pid for pid, command in program.family().items() if command.startswith("ray::Rank")]
    for rank in ranks:
        os.kill(rank, signal.SIGKILL)
    second = chunks_stored(out)
    ended = program.wait()
    assert ended.code == 0, ended.err

    (meta,) = out.glob("meta/*/a.json")
    sidecar = json.loads(meta.read_text())
    made = sidecar["chunks"]
    assert sidecar["attempts"] == 2
    # The chunk that was under way is all that was lost; one may have been stored meanwhile.
    assert second <= made["resumed"] <= second + 1
    assert made["resumed"] < made["count"]
    assert list(LocalStorage(out).list("partial/")) == []
    expected = frames_of_one_go(tiny_model, manifest, whole)
    assert len(expected) == NUM_FRAMES
    assert sha256(frames_of(out)) == sha256(expected)
