from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from videogen.clip_ids import clip_id
from videogen.defaults import SAMPLER_VERSION
from videogen.media import write_video
from videogen.requests import ClipRequest
from videogen.storage import LocalStorage
from videogen_pipelines.cli.app import app, run
from videogen_pipelines.commit import commit_clip
from videogen_pipelines.keys import clip_key, meta_key
from videogen_pipelines.results import ResultRow
from videogen_pipelines.run_directory import RunDirectory
from videogen_pipelines.run_record import RunRecord
from videogen_pipelines.sidecar import ModelStamp, Provenance

MODEL = ModelStamp(name="tiny", digest="d" * 64)
RECORD = RunRecord.of({}, "prompts.jsonl", "m" * 64, MODEL.name, MODEL.digest)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A run of two real clips and one row that failed."""
    storage = LocalStorage(tmp_path / "out")
    rows: list[ResultRow] = []
    with RunDirectory(storage) as directory:
        directory.initialise(RECORD)
        for name in ("a", "b"):
            request = ClipRequest(
                id=name,
                prompt="a ship",
                seed=7,
                num_frames=5,
                height=32,
                width=48,
                fps=8.0,
                num_inference_steps=4,
                guidance_scale=3.0,
                sampler="euler",
            )
            name_of_pixels = clip_id(request, MODEL.digest, SAMPLER_VERSION)
            provenance = Provenance(request, name_of_pixels, MODEL, SAMPLER_VERSION)
            path = tmp_path / f"{name}.mp4"
            frames = [np.full((5, 32, 48, 3), 200, np.uint8)]
            write_video(path, frames, fps=8.0, metadata=provenance.container_metadata())
            directory.record_done(commit_clip(storage, path, provenance).outcome())
            rows.append(ResultRow(name, name_of_pixels, request))
        directory.record_failure("broken", "oom", "out of memory", 3)
        directory.finish([*rows, ResultRow("broken", None, None)])
    return tmp_path / "out"


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["verify", *map(str, arguments)])


def test_a_proof_for_people_and_for_machines(out: Path) -> None:
    told = invoke(out)
    assert told.exit_code == 0, told.output
    assert "proven: every row is one clip or a named failure" in told.output
    assert "3 (from results)" in told.output
    plain = json.loads(invoke(out, "--json").stdout)
    assert (plain["proven"], plain["exit_code"], plain["level"]) == (True, 0, "frames")
    assert (plain["rows"], plain["clips"], plain["failed"]) == (3, 2, 1)
    assert (plain["violations"], plain["counts"], plain["repaired"]) == ([], {}, [])


def test_violations_are_named_and_the_exit_code_says_so(out: Path) -> None:
    (out / clip_key("a")).unlink()
    told = invoke(out)
    assert told.exit_code == 1
    assert "not proven: 1 no_clip" in told.output
    assert meta_key("a") in told.output
    plain = json.loads(invoke(out, "--json").stdout)
    assert plain["counts"] == {"no_clip": 1}
    assert plain["violations"][0]["key"] == meta_key("a")


def test_a_file_that_does_not_decode_is_found_by_decoding_alone(out: Path) -> None:
    """Its bytes are those of its sidecar, so only the frames tell."""
    import hashlib

    clip = out / clip_key("a")
    data = clip.read_bytes()[:-200]
    clip.write_bytes(data)
    sidecar = json.loads((out / meta_key("a")).read_text())
    sidecar |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (out / meta_key("a")).write_text(json.dumps(sidecar))
    found = json.loads(invoke(out, "--json").stdout)["counts"]
    assert found["damaged_clip"] == 1
    assert "damaged_clip" not in json.loads(invoke(out, "--json", "--no-decode").stdout)["counts"]


@pytest.mark.parametrize(
    ("flag", "level"), [("--no-decode", "bytes"), ("--no-read", "sizes"), ("--decode", "frames")]
)
def test_a_level_is_chosen(out: Path, flag: str, level: str) -> None:
    assert json.loads(invoke(out, "--json", flag).stdout)["level"] == level


def test_a_repair_says_what_it_did(out: Path) -> None:
    (out / meta_key("b")).unlink()
    told = invoke(out, "--repair")
    assert told.exit_code == 0, told.output
    assert f"adopted {clip_key('b')}" in told.output
    assert "proven" in told.output
    assert json.loads(invoke(out, "--repair", "--json").stdout)["repaired"] == []


def test_a_folder_without_a_run_is_no_violation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", str(tmp_path)]) == 3
    assert "expected a run directory" in capsys.readouterr().err
