from __future__ import annotations

import json
from pathlib import Path

import pytest

from videogen_pipelines.cli.app import run

SHORT = ["--num-inference-steps", "6", "--num-frames", "5"]


@pytest.mark.parametrize(
    ("kind", "values", "names"),
    [("first_block", "0,1000", [0.0, 1000.0]), ("pyramid", "1/1/1,3/3/3", [[1] * 3, [3] * 3])],
)
def test_settings_against_the_same_clips_without(kind, values, names, tiny_model: Path, capsys):
    options = ["--model", str(tiny_model), "--kind", kind, "--values", values, *SHORT]
    assert run(["calibrate", "--json", *options]) == 0
    rows = json.loads(capsys.readouterr().out)
    field = "threshold" if kind == "first_block" else "ranges"
    assert [row["cache"][field] for row in rows] == names
    assert rows[0]["psnr_db"] > 60, "nothing is left out"
    assert rows[1]["psnr_db"] < rows[0]["psnr_db"]


def test_values_that_are_none(capsys):
    assert run(["calibrate", "--values", "much"]) == 2
    assert "--values: got 'much'" in capsys.readouterr().err
