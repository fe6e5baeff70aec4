"""`videogen evaluate`: what it refuses before any work."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from videogen_pipelines.cli.app import app


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give a run or a folder of videos"),
        (("out", "--validate"), "takes no clips"),
        (("--validate", "--out", "s3://bucket/v"), "an --out on this machine"),
        (("--validate", "--num-clips", "1"), "--num-clips"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(arguments: tuple[str, ...], message: str):
    result = CliRunner().invoke(app, ["evaluate", *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert message in result.output
