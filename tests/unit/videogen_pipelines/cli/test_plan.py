"""`videogen plan` must choose as the planner does, say why, and refuse mistakes with a remedy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from videogen.errors import ConfigError, InvalidRequestError
from videogen_pipelines.cli.plan import plan, seconds
from videogen_pipelines.sharding import parse_bytes

ROOT = Path(__file__).parents[4]


def run(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(plan)
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "100"})
    if result.exception:
        raise result.exception
    return result.stdout


def test_the_choice_its_reasons_and_the_alternatives_are_shown():
    shown = run("--model", "xl", "--num-clips", "100", "--gpus", "8", "--gpu-memory", "5 GB")
    lines = shown.splitlines()

    assert lines[0] == "xl, 100 × 832×480×81, 16 steps, on 8 × h100"
    assert lines[1] == "replicas 4 × cfg 2 × seq 1"
    assert "- cfg 1 × seq 1 needs 6.07 GB a rank, 4.5 of 5 GB are to be used" in lines
    rows = [line for line in lines if line.startswith("cfg ")]
    assert len(rows) == 7
    assert "too large" in rows[0] and "too large" not in rows[1]
    assert "none measured" in shown


def test_json_has_every_candidate():
    found = json.loads(run("--model", "xl", "--gpus", "4", "--json"))

    assert found["best"]["replicas"] == 1
    assert {(one["cfg_degree"], one["seq_degree"]) for one in found["candidates"]} == {
        *((1, n) for n in (1, 2, 3, 4)),
        *((2, n) for n in (1, 2)),
    }
    memory = found["best"]["memory"]
    assert memory["peak"] == memory["weights"] + max(memory["denoise"], memory["decode"])


def test_a_manifest_counts_its_clips_and_takes_the_largest(tmp_path):
    manifest = tmp_path / "clips.jsonl"
    rows = [{"prompt": "a"}, {"prompt": "b", "num_frames": 33}, {"prompt": "c", "height": 32}]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))

    assert run(str(manifest)).splitlines()[0].startswith("default, 3 × 64×64×33, ")


def test_mistakes_are_errors_with_a_remedy(tmp_path):
    with pytest.raises(ConfigError, match="seq_degree: got 9, expected 1 to 8"):
        run("--model", "xl", "--seq-degree", "9")
    with pytest.raises(ConfigError, match="expected one of a100, h100"):
        run("--gpu", "h10")
    with pytest.raises(InvalidRequestError, match="height: got 60"):
        run("--height", "60")
    with pytest.raises(ConfigError, match="gpu_memory: got 1 GB, expected at least"):
        run("--model", "xl", "--gpu-memory", "1GB")
    empty = tmp_path / "none.jsonl"
    empty.write_text("")
    with pytest.raises((ConfigError, InvalidRequestError)):
        run(str(empty))


def test_a_manifest_and_sizes_do_not_go_together():
    with pytest.raises(SystemExit) as ended:
        run("clips.jsonl", "--num-frames", "17")

    assert ended.value.code == 2


@pytest.mark.parametrize(
    "text,expected", [("80GB", 80 * 10**9), ("1.5 GiB", 3 * 2**29), ("200mb", 2 * 10**8)]
)
def test_memory_is_read_with_its_unit(text, expected):
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["80", "GB", "80 GBs", "-1GB", ""])
def test_memory_without_a_unit_is_refused(text):
    with pytest.raises(ConfigError, match="such as 80GB"):
        parse_bytes(text)


@pytest.mark.parametrize(
    "value,expected", [(83, "1 min 23 s"), (1.5, "1.5 s"), (0.0125, "12.5 ms"), (2e-5, "20 µs")]
)
def test_seconds_are_short(value, expected):
    assert seconds(value) == expected


def test_importing_the_command_does_not_import_torch():
    code = "import sys, videogen_pipelines.cli.plan; sys.exit('torch' in sys.modules)"
    path = [str(ROOT / folder) for folder in ("", "cluster", "pipelines")]
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}; {code}"], check=False
    )
    assert result.returncode == 0
