"""`videogen data`: options become settings, and mistakes end with one sentence and 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from videogen.errors import ConfigError
from videogen_pipelines.cli import errors
from videogen_pipelines.cli.app import run
from videogen_pipelines.data.settings import ACCEPT, PackSettings, parse_accept


def test_conditions_replace_those_of_the_same_metric():
    found = parse_accept(["motion.total>=3", "cut.count < 1"])
    assert found == {**ACCEPT, "motion.total": ">= 3", "cut.count": "< 1"}
    assert parse_accept(["none", "flicker.luma<=2"]) == {"flicker.luma": "<= 2"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [("motion.total", "a condition such as"), ("motion.totla>=1", "motion.total")],
)
def test_what_is_no_condition_is_refused(said: str, expected: str):
    with pytest.raises(ConfigError, match=expected):
        parse_accept([said])


def test_a_digest_is_of_what_decides_the_clips():
    assert PackSettings(near=3, shard_clips=7).digest == PackSettings().digest
    assert PackSettings(min_side_px=64).digest != PackSettings().digest


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--cuts", "drop"), "--cuts: got 'drop', expected split or keep"),
        (("--min-frames", "9", "--max-frames", "5"), "--min-frames: got 9, expected 1 to"),
        (("--index", "captions.txt"), "expected a file that ends in .csv"),
    ],
)
def test_bad_options_are_named(
    options: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "a.mp4").write_bytes(b"")
    code = run(["data", "pack", str(tmp_path), "--out", str(tmp_path / "out"), *options])
    assert code == errors.BAD_INPUT
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_a_height_needs_a_width(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code = run(["data", "encode", str(tmp_path), "--out", str(tmp_path / "o"), "--height", "32"])
    assert code == errors.BAD_INPUT
    assert "expected both or neither" in capsys.readouterr().err
