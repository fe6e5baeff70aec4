"""`status`, `logs` and `cancel`, on what a run left in its storage."""

from __future__ import annotations

import json
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from videogen.storage import LocalStorage
from videogen_pipelines.cli.app import run
from videogen_pipelines.control import read_stop
from videogen_pipelines.events import EventLog
from videogen_pipelines.sidecar import now
from videogen_pipelines.status import Coordinator, Gangs, InFlight, Status, write_status

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def write(out: Path, state: Any, ago_s: float = 0.0, **fields: Any) -> Status:
    at = now() - timedelta(seconds=ago_s)
    status = Status(
        invocation=fields.pop("invocation", 2),
        state=state,
        started_at=at,
        updated_at=at,
        rows=1000,
        done=400,
        failed=2,
        pending=598,
        errors_by_class={"non_finite": 2},
        clips_per_minute=30.0,
        eta_s=1196.0,
        gpu_s=3600.0,
        price_per_gpu_hour=2.5,
        cost=2.5,
        gangs=Gangs(ready=3, total=4, lost=1),
        in_flight=(InFlight(id="clip-7", gang="gang-2", stage="denoise", step=3, total=16),),
        recent_events=({"at": 0.0, "event": "gang_lost", "gang": "gang-1"},),
        coordinator=Coordinator(node="n1", pid=7),
        **fields,
    )
    write_status(LocalStorage(out), status)
    return status


def test_a_running_run(out: Path, capsys: Capture):
    write(out, "running")
    assert run(["status", str(out)]) == 0
    said = capsys.readouterr().out
    for part in (
        "400 of 1,000 done (40.0%)",
        "598, 1 in flight",
        "2: 2 non_finite",
        "30.0 clips/min, 19 min 56 s left",
        "3 of 4 ready, 1 lost so far",
        "2.50",
        "clip-7: denoise 3/16 on gang-2",
        "gang_lost gang=gang-1",
    ):
        assert part in said


def test_a_run_that_died_is_known_by_its_silence(out: Path, capsys: Capture):
    write(out, "running", ago_s=185)
    assert run(["status", str(out)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "no sign of life for 3 min 05 s" in said
    assert "the same command continues it" in said


def test_a_status_for_machines(out: Path, capsys: Capture):
    write(out, "running")
    assert run(["status", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["state"], found["done"], found["pending"]) == ("running", 400, 598)
    assert found["gangs"] == {"ready": 3, "total": 4, "lost": 1}
    assert found["cost"] == 2.5


@pytest.mark.parametrize(
    ("state", "code"), [("complete", 0), ("some_failed", 1), ("interrupted", 130), ("error", 3)]
)
def test_watching_ends_with_the_run_and_with_its_code(
    out: Path, state: str, code: int, capsys: Capture
):
    write(out, "running")
    changing = threading.Timer(0.3, write, (out, state))
    changing.start()
    assert run(["status", str(out), "--watch", "--interval", "0.2", "--json"]) == code
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (lines[0]["state"], lines[-1]["state"]) == ("running", state)


@pytest.mark.parametrize("command", ["status", "logs", "cancel"])
def test_a_folder_that_is_no_run_is_refused(command: str, out: Path, capsys: Capture):
    assert run([command, str(out)]) == 3
    assert "run.json" in capsys.readouterr().err


def test_the_event_log_is_printed(out: Path, capsys: Capture):
    write(out, "complete")
    log = EventLog(LocalStorage(out), 1, lambda: 0.0)
    for number in range(5):
        log.add("clip_done", id=f"clip-{number}")
    log.flush()
    assert run(["logs", str(out), "--last", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == [
        "clip_done id=clip-3",
        "clip_done id=clip-4",
    ]
    assert run(["logs", str(out), "--json"]) == 0
    assert len([json.loads(line) for line in capsys.readouterr().out.splitlines()]) == 5


def test_following_ends_with_the_run_and_misses_nothing(
    out: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("videogen_pipelines.cli.logs._LOOK_S", 0.1)
    write(out, "running")
    log = EventLog(LocalStorage(out), 2)
    log.add("run_started")
    log.flush()

    def end() -> None:
        log.add("run_ended")
        log.flush()
        write(out, "complete")

    threading.Timer(0.4, end).start()
    assert run(["logs", str(out), "--follow", "--json"]) == 0
    events = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert events == ["run_started", "run_ended"]


def test_cancelling_asks_the_invocation_that_runs(out: Path, capsys: Capture):
    write(out, "running", invocation=3)
    assert run(["cancel", str(out)]) == 0
    assert read_stop(LocalStorage(out)).invocation == 3
    assert "asked to stop" in capsys.readouterr().out


def test_a_run_that_has_ended_is_not_asked(out: Path, capsys: Capture):
    write(out, "complete")
    assert run(["cancel", str(out)]) == 0
    assert read_stop(LocalStorage(out)) is None
    assert "nothing to stop" in capsys.readouterr().out


def test_waiting_lasts_until_the_run_has_ended(out: Path, capsys: Capture):
    write(out, "running")

    def obey() -> None:
        while read_stop(LocalStorage(out)) is None:
            time.sleep(0.05)
        write(out, "interrupted")

    threading.Thread(target=obey).start()
    assert run(["cancel", str(out), "--wait", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "interrupted"


def test_a_run_that_does_not_obey_is_an_error(out: Path, capsys: Capture):
    write(out, "running")
    assert run(["cancel", str(out), "--wait", "--timeout", "1"]) == 3
    assert "still running after 1 s" in capsys.readouterr().out
