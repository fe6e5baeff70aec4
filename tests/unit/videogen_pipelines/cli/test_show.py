from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from videogen.errors import StorageError
from videogen.media import write_video
from videogen.requests import ClipRequest
from videogen.storage import LocalStorage
from videogen_pipelines.cli.show import describe, show
from videogen_pipelines.commit import commit_clip
from videogen_pipelines.results import ResultRow
from videogen_pipelines.run_directory import RunDirectory
from videogen_pipelines.run_record import RunRecord
from videogen_pipelines.sidecar import ModelStamp, Provenance

RECORD = RunRecord.of({}, "prompts.jsonl", "m" * 64, "tiny", "d" * 64)


def request(name: str) -> ClipRequest:
    return ClipRequest(
        id=name,
        prompt=f"[red]{name}[/red] sails",
        seed=7,
        num_frames=9,
        height=32,
        width=48,
        fps=8.0,
        num_inference_steps=4,
        guidance_scale=3.0,
        sampler="euler",
    )


def generate(out: Path, folder: Path, names: list[str], finish: bool = True) -> None:
    """A run with real video files, and one row that failed."""
    storage = LocalStorage(out)
    with RunDirectory(storage) as run:
        run.initialise(RECORD)
        for name in names:
            provenance = Provenance(
                request(name), name[0] * 32, ModelStamp(name="tiny", digest="d" * 64), "1"
            )
            frames = np.full((9, 32, 48, 3), 200, np.uint8)
            path = folder / f"{name}.mp4"
            write_video(path, [frames], fps=8.0, metadata=provenance.container_metadata())
            run.record_done(commit_clip(storage, path, provenance).outcome())
        run.record_failure("broken", "oom", "out of memory", 3)
        if finish:
            rows = [ResultRow(name, name[0] * 32, request(name)) for name in names]
            run.finish([*rows, ResultRow("broken", None, None)])


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "encoded"
    folder.mkdir()
    generate(tmp_path / "out", folder, ["alpha", "beta", "gamma"])
    return tmp_path / "out"


def invoke(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(show)
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_people_see_clips_numbers_and_a_sheet(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")  # the path of the output may be long
    result = invoke(str(out))
    assert result.exit_code == 0
    for expected in (
        "model",
        "complete",
        "3 done",
        "1 oom",
        "[red]alpha[/red] sails",
        "48×32",
        "      9    8 ",
        "contact_sheet.png",
    ):
        assert expected in result.stdout
    assert "not complete" not in result.stdout
    assert Image.open(out / "contact_sheet.png").width > 400


def test_machines_get_json(out: Path) -> None:
    result = invoke(str(out), "--json", "--limit", "2", "--no-sheet")
    shown = json.loads(result.stdout)
    assert shown["model"] == "tiny"
    assert shown["complete"] is True
    assert shown["contact_sheet"] is None
    assert shown["summary"]["done"] == 3
    assert shown["summary"]["failed_by_class"] == {"oom": 1}
    assert len(shown["clips"]) == 2
    assert {clip["schema"] for clip in shown["clips"]} == {1}
    assert not (out / "contact_sheet.png").exists()


def test_a_run_in_progress_is_not_complete(tmp_path: Path) -> None:
    generate(tmp_path / "out", tmp_path, ["alpha"], finish=False)
    shown = describe(LocalStorage(tmp_path / "out"), limit=12, with_sheet=True)
    assert not shown.complete
    assert [clip.id for clip in shown.clips] == ["alpha"]
    assert (shown.summary.done, shown.summary.failed) == (1, 1)


def test_a_run_without_clips(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "out")
    with RunDirectory(storage) as run:
        run.initialise(RECORD)
    shown = describe(storage, limit=12, with_sheet=True)
    assert (shown.clips, shown.sheet, shown.summary.done) == ([], None, 0)


def test_a_folder_that_is_no_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="expected a run directory"):
        describe(LocalStorage(tmp_path / "nothing"), limit=12, with_sheet=True)
    assert list(tmp_path.iterdir()) == []


def test_the_default_inspection_reads_real_files(out: Path, tmp_path: Path) -> None:
    """`commit_clip` above ran with `inspect_clip`: what it found came from the container."""
    shown: dict[str, Any] = json.loads(invoke(str(out), "--json", "--no-sheet").stdout)
    (alpha,) = [clip for clip in shown["clips"] if clip["id"] == "alpha"]
    assert (alpha["clip_id"], alpha["codec"], alpha["frames"]) == ("a" * 32, "h264", 9)
    assert alpha["duration_s"] == pytest.approx(9 / 8)
