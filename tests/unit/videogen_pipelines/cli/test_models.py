"""`videogen models` must show every preset, one in detail, and both as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from videogen.errors import ConfigError, InvalidRequestError
from videogen.models.presets import PRESETS
from videogen_pipelines.cli.models import amount, millions, models

ROOT = Path(__file__).parents[4]


PACKAGED = {"default": ["default-fast", "default-wide"]}


def run(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(models)
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})
    if result.exception:
        raise result.exception
    return result.stdout


def test_the_list_has_a_line_for_every_preset_and_fits_a_terminal():
    lines = run().splitlines()
    rows = {line.split()[0]: line for line in lines if line.split()[:1]}
    assert set(PRESETS) <= set(rows)
    values = "832×480×81 1,092 M 32,760 6.7 T 138 T 20.7× 46× 6.1 GB no"
    assert " ".join(rows["xl"].split()[1:]) == values
    assert max(map(len, lines)) <= 80
    assert "default-fast: another model with an adapter, for 4 steps at guidance 1." in lines
    assert "default-wide: one or two objects, textures and a moving camera." in lines


def test_one_model_is_shown_in_detail():
    shown = run("base", "--num-frames", "97", "--tflop-per-s", "100")
    assert "256×256, 97 frames" in shown
    assert "t5, width 1024, at most 128 tokens" in shown
    assert "to be trained" in shown
    assert "joint attention" in shown and "about" in shown


def test_json_of_the_list_is_an_array_in_the_order_of_size():
    listed = json.loads(run("--json"))
    assert [entry["name"] for entry in listed] == [
        name for preset in PRESETS for name in (preset, *PACKAGED.get(preset, []))
    ]
    assert listed[0]["estimated_s"] is None


def test_json_of_one_model_is_an_object():
    entry = json.loads(run("small", "--json", "--height", "256", "--tflop-per-s", "2"))
    assert (entry["name"], entry["height"], entry["width"]) == ("small", 256, 128)
    assert entry["estimated_s"] == pytest.approx(entry["clip_flops"] / 2e12)


def test_mistakes_are_errors_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="Did you mean 'small'"):
        run("smal")
    with pytest.raises(InvalidRequestError, match="multiple of 16"):
        run("small", "--width", "100")


def test_importing_the_command_does_not_import_torch():
    code = "import sys, videogen_pipelines.cli.models; sys.exit('torch' in sys.modules)"
    path = [str(ROOT / folder) for folder in ("", "cluster", "pipelines")]
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}; {code}"], check=False
    )
    assert result.returncode == 0


@pytest.mark.parametrize(
    "value,unit,expected",
    [
        (0, "", "0"),
        (999, "", "999"),
        (1000, "B", "1.0 kB"),
        (7_741_440, "", "7.7 M"),
        (63_450_000_000_000, "", "63.5 T"),
        (999_600, "", "1.0 M"),
        (452e6, "", "452 M"),
    ],
)
def test_amounts_have_two_or_three_digits(value, unit, expected):
    assert amount(value, unit) == expected


def test_parameters_are_counted_in_millions():
    assert [millions(n) for n in (6_704_896, 1_092_326_848)] == ["6.7 M", "1,092 M"]
