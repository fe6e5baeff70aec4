from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from videogen_pipelines.cli.app import app, run
from videogen_pipelines.cli.retry import closing
from videogen_pipelines.generate import Outcome
from videogen_pipelines.results import RunCounts
from videogen_pipelines.retry import Retried
from videogen_pipelines.summary import RunSummary


def test_an_unknown_class_is_refused_with_those_there_are(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["retry", str(tmp_path), "--only", "oom"])
    assert told.exit_code == 2
    assert "out_of_memory" in told.output


def test_a_folder_without_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["retry", str(tmp_path)]) == 3
    assert "expected a run directory" in capsys.readouterr().err


def test_what_is_said_at_the_end() -> None:
    assert "no row failed" in closing(Retried("out", 0, {}, None), None)
    other = closing(Retried("out", 0, {"hang": 2}, None), "encode")
    assert "no row of class 'encode' failed" in other
    assert "2 hang" in other
    counts = RunCounts(rows=9, done=6, failed=1, pending=2)
    outcome = Outcome("some_failed", "out", counts, RunSummary(), None)
    told = closing(Retried("out", 3, {"hang": 3}, outcome), None)
    assert "3 rows tried again: 6 of 9 rows are clips now, 1 failed" in told
    assert "2 rows were never reached" in told
