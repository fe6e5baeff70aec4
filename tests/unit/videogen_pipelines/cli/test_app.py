"""The command line: quick help, exit codes, and errors as sentences."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from videogen.errors import (
    ConfigError,
    InvalidRequestError,
    MissingDependencyError,
    OutputConflictError,
    StorageError,
    WeightsError,
)
from videogen_cluster.session import ClusterError
from videogen_pipelines.cli import errors
from videogen_pipelines.cli.app import run

HEAVY = ("torch", "ray", "transformers", "pyarrow", "av", "pydantic")


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from videogen_pipelines.cli.app import run; run(['--help']); "
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stderr.strip() == "[]"
    assert "generate" in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        "generate",
        "submit",
        "status",
        "logs",
        "cancel",
        "retry",
        "verify",
        "show",
        "models",
        "doctor",
        "calibrate",
        "evaluate",
        "compare",
        "sweep",
    ],
)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]):
    assert run([command, "--help"]) == 0
    assert f"Example: videogen {command}" in capsys.readouterr().out


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("videogen 0.")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["generate"],
        ["generate", "rows.jsonl", "--prompt", "p"],
        ["generate", "rows.jsonl", "--seed", "3"],
        ["generate", "--prompt", "p", "--gangs", "0"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    assert run(arguments) == errors.BAD_INPUT
    assert "Error" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--model", "/nowhere"], "/nowhere"),
        (["--set", "model.dtyp=float32"], "model.dtyp"),
        (["--set", "cluster.gang.seq_degree=999"], "seq_degree: got 999"),
        (["--set", "cluster.max_attempts=9"], "cluster.max_gang_deaths"),
        (["--set", "sampling.height=33"], "height: got 33"),
        (["--out", "s3://bucket/run"], "s3://bucket/run"),
    ],
)
def test_bad_input_is_named_without_a_traceback(
    options: list[str], named: str, tiny_model: Path, capsys: pytest.CaptureFixture[str]
):
    model = [] if "--model" in options else ["--model", str(tiny_model)]
    code = run(["generate", "--prompt", "a red circle", *model, *options])
    said = capsys.readouterr().err
    assert code in (errors.BAD_INPUT, errors.ENVIRONMENT)
    assert named in said
    assert "Traceback" not in said


def test_errors_are_json_for_machines(tiny_model: Path, capsys: pytest.CaptureFixture[str]):
    arguments = [
        "generate",
        "-p",
        "red",
        "--model",
        str(tiny_model),
        "--json",
        "--set",
        "sampling.height=33",
    ]
    assert run(arguments) == errors.BAD_INPUT
    found = json.loads(capsys.readouterr().out)
    assert found["exit_code"] == errors.BAD_INPUT
    assert "height: got 33" in found["message"]


def test_a_dry_run_prints_the_plan(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    arguments = ["generate", "-p", "red", "-p", "circle", "--model", str(tiny_model)]
    assert run([*arguments, "--out", str(out), "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["to_do"], plan["done"]) == (2, 0)
    # 2 latent frames of 2 x 2 tokens, 2 steps, with and without guidance, 2 clips
    assert plan["tokens"] == 2 * 4 * 2 * 2 * 2
    assert plan["flops"] > 0
    assert plan["estimated_seconds"] > 0
    assert not out.exists()
    assert run([*arguments, "--out", str(out), "--dry-run"]) == 0
    assert "2 to make, 0 done already" in capsys.readouterr().out


def test_a_dry_run_says_what_gangs_of_several_ranks_need(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = ["generate", "-p", "red", "--model", str(tiny_model), "--out", str(tmp_path / "o")]
    arguments += ["--dry-run", "--set", "cluster.gang.cfg_degree=2"]
    assert run([*arguments, "--set", "cluster.gang.seq_degree=2"]) == 0
    assert "cfg 2 × seq 2, whole weights: about" in capsys.readouterr().out
    assert run([*arguments, "--set", "cluster.gang.seq_degree=5"]) == errors.BAD_INPUT
    assert "cluster.gang.seq_degree: got 5, expected 1 to 4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidRequestError("x"), 2),
        (ConfigError("x"), 2),
        (OutputConflictError("x"), 2),
        (WeightsError("x"), 2),
        (StorageError("x"), 3),
        (ClusterError("x"), 3),
        (MissingDependencyError("x"), 3),
        (OSError("x"), 3),
    ],
)
def test_errors_have_exit_codes(error: Exception, code: int):
    assert errors.exit_code(error) == code


def test_a_bug_shows_its_traceback(capsys: pytest.CaptureFixture[str]):
    try:
        raise ZeroDivisionError("oops")
    except ZeroDivisionError as error:
        errors.report(error, as_json=False)
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "ZeroDivisionError: oops" in said


def test_no_error_shows_a_password(capsys: pytest.CaptureFixture[str]):
    try:
        raise OSError("cannot reach http://me:pw@store")
    except OSError as error:
        errors.report(error, as_json=True)
    shown = capsys.readouterr()
    assert "store" in shown.err
    assert "store" in shown.out
    assert "pw@" not in shown.err + shown.out


def test_the_traceback_of_a_known_error_can_be_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(errors.TRACEBACK_VARIABLE, "1")
    errors.report(ConfigError("x"), as_json=False)
    assert "videogen.errors.ConfigError: x" in capsys.readouterr().err
