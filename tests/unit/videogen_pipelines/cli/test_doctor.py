"""`videogen doctor` from the outside: exit codes, JSON, and nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from videogen_pipelines.cli.app import run
from videogen_pipelines.doctor import diagnosis
from videogen_pipelines.doctor.checks import Family, Probe, failed, ok, warning


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes seconds: other processes and codecs."""
    empty = Family("none", ())
    for slow in ("accelerator_family", "media_family", "ray_family"):
        monkeypatch.setattr(diagnosis, slow, lambda _: empty)


def test_a_healthy_machine_exits_with_0(quick, tmp_path: Path, tiny_model: Path, capsys):
    assert run(["doctor", "--out", str(tmp_path / "run"), "--model", str(tiny_model)]) == 0
    shown = capsys.readouterr().out
    assert "create-only" in shown and "sha256 as described" in shown
    assert "failed" not in shown.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_a_failure_exits_with_3_and_says_how_to_mend_it(quick, tmp_path: Path, capsys):
    assert run(["doctor", "--model", str(tmp_path / "absent")]) == 3
    shown = " ".join(capsys.readouterr().out.split())
    assert "How to mend it" in shown
    assert "model weights: check the path" in shown


def test_json_holds_every_check(quick, tiny_model: Path, capsys):
    assert run(["doctor", "--json", "--model", str(tiny_model)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True and found["exit_code"] == 0
    assert found["counts"]["ok"] == sum(check["status"] == "ok" for check in found["checks"])
    assert {"family", "name", "status", "found", "fix", "seconds"} == set(found["checks"][0])


@pytest.mark.parametrize(
    "finding,code", [(ok("fine"), 0), (warning("hm", "mend"), 0), (failed("no", "mend"), 3)]
)
def test_warnings_are_no_failures(finding, code: int, monkeypatch, capsys):
    family = Family("f", (Probe("p", lambda: finding),))
    monkeypatch.setattr(diagnosis, "families", lambda _: [family])
    assert run(["doctor"]) == code
    assert finding.found in capsys.readouterr().out


def test_a_bad_configuration_is_bad_input(tmp_path: Path, capsys):
    config = tmp_path / "run.yaml"
    config.write_text("schema: 1\ncluster:\n  gang: 3\n")
    assert run(["doctor", "--config", str(config)]) == 2
    assert "cluster.gang" in capsys.readouterr().err


def test_the_configuration_says_what_is_looked_at(tmp_path: Path, monkeypatch):
    config = tmp_path / "run.yaml"
    config.write_text("schema: 1\nmodel:\n  attention: flash\ncluster:\n  address: head:6379\n")
    seen = []
    monkeypatch.setattr(diagnosis, "families", lambda subject: seen.append(subject) or [])
    assert run(["doctor", "--config", str(config), "--model", "small"]) == 0
    subject = seen[0]
    assert (subject.address, subject.attention) == ("head:6379", "flash")
    assert subject.config.model.name == "small"
    assert run(["doctor", "--config", str(config), "--address", "auto"]) == 0
    assert seen[1].address == "auto"


def test_help_has_an_example(capsys):
    assert run(["doctor", "--help"]) == 0
    assert "Example: videogen doctor" in capsys.readouterr().out
