"""`videogen submit` to a head that asks for a token, in a folder of packages named as ours."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.cluster]

POISON = 'raise ImportError("a package of the user\'s own folder was imported instead of ours")\n'
SECRET = "planted-secret-access-key"
CLIPS = 12


@dataclass(frozen=True)
class Head:
    """A Ray head with its dashboard on loopback."""

    address: str
    token: str
    folder: Path
    metrics_port: int

    def processes(self) -> list[int]:
        """Everything that it started."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue  # gone since it was listed
            if str(self.folder).encode() in command:
                found.append(int(folder.name))
        return found


def free_ports(count: int) -> list[int]:
    """Ports below those that the system gives away, so that nobody gets them meanwhile."""
    candidates = random.Random(os.getpid()).sample(range(20_000, 30_000), 100)
    return list(itertools.islice(filter(is_free, candidates), count))


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """Started in a folder with poisoned packages, in an environment that knows no videogen."""
    folder = Path(tempfile.mkdtemp(prefix="vg-head-", dir="/tmp"))  # sockets need a short path
    poison(folder)
    gcs, dashboard, agent, client, metrics = free_ports(5)
    head = Head(f"http://127.0.0.1:{dashboard}", secrets.token_hex(32), folder, metrics)
    ray = Path(sys.executable).with_name("ray")
    command = [
        *(str(ray), "start", "--head", "--include-dashboard=true", "--dashboard-host=127.0.0.1"),
        *(f"--port={gcs}", f"--dashboard-port={dashboard}", f"--temp-dir={folder}/r"),
        *(f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}"),
        *("--min-worker-port=0", "--max-worker-port=0", "--num-cpus=2", "--disable-usage-stats"),
        *(f"--metrics-export-port={metrics}", f"--object-store-memory={100 * 2**20}"),
    ]
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": head.token,
        "RAY_metrics_report_interval_ms": "500",
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }
    try:
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        yield head
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in head.processes():
                os.kill(pid, number)
            deadline = time.monotonic() + 5
            while head.processes() and time.monotonic() < deadline:
                time.sleep(0.1)
        shutil.rmtree(folder, ignore_errors=True)


def poison(folder: Path) -> None:
    for name in ("videogen", "videogen_cluster", "videogen_pipelines", "pipelines", "cluster"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(POISON)


@pytest.fixture
def videogen(
    start_program: Callable[..., Any],
    tmp_path: Path,
    head: Head,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Any]:
    """The program in a folder of poison, with the head's token."""
    poison(tmp_path)
    monkeypatch.setenv("RAY_AUTH_TOKEN", head.token)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return start_program


@pytest.fixture
def submission(tmp_path: Path, tiny_model: Path, head: Head) -> list[Any]:
    """Arguments of a run that takes a quarter of a minute on one core."""
    rows = [
        {"id": f"clip-{index:02d}", "prompt": "a red circle", "num_inference_steps": 200}
        for index in range(CLIPS)
    ]
    manifest = tmp_path / "rows.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [
        "submit",
        "rows.jsonl",
        "--out",
        "out",
        "--model",
        tiny_model,
        "--address",
        head.address,
    ]


def status(videogen: Callable[..., Any], out: Path) -> dict[str, Any]:
    ended = videogen("status", out, "--json").wait(60)
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def wait_for_clips(out: Path) -> None:
    """Until the coordinator has told storage of one."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):
            if json.loads((out / "status.json").read_text())["done"]:
                return
        time.sleep(0.1)
    raise AssertionError(f"no clip in four minutes: {sorted(out.rglob('*'))}")


def wait_for_metrics(head: Head) -> str:
    """What Prometheus would read, once a clip is counted there."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"http://127.0.0.1:{head.metrics_port}/metrics") as answer:
            text = answer.read().decode()
        if "ray_videogen_clips_total{" in text:
            return text
        time.sleep(0.2)
    raise AssertionError("no clip is counted in Ray's metrics")


def test_a_submitted_run_is_followed_cancelled_and_finished_by_submitting_again(
    videogen: Callable[..., Any], submission: list[Any], head: Head, tmp_path: Path
):
    out = tmp_path / "out"
    submitted = videogen(*submission, "--gangs", 1, "--json").wait(60)
    assert submitted.code == 0, submitted.err
    job = json.loads(submitted.out)
    assert status(videogen, out)["state"] in ("submitted", "starting", "running")
    twice = videogen(*submission).wait(60)
    assert twice.code == 2
    assert job["job_id"] in twice.err

    wait_for_clips(out)
    seen = status(videogen, out)
    assert (seen["state"], seen["rows"], seen["job_id"]) == ("running", CLIPS, job["job_id"])
    assert 0 < seen["done"] < CLIPS
    assert seen["gangs"] == {"ready": 1, "total": 1, "lost": 0}

    metrics = wait_for_metrics(head)
    for name in ("stage_seconds", "bytes", "gpu_seconds", "gangs", "step_seconds"):
        assert f"ray_videogen_{name}" in metrics

    cancelled = videogen("cancel", out, "--wait", "--json").wait(60)
    assert cancelled.code == 0, cancelled.err
    assert json.loads(cancelled.out)["state"] == "interrupted"
    made = {path.stem for path in out.glob("meta/*/*.json")}
    assert 0 < len(made) < CLIPS

    again = videogen(*submission, "--follow").wait(180)
    assert again.code == 0, again.out + again.err
    assert f"{len(made)} done already" in again.out
    assert status(videogen, out)["state"] == "complete"
    assert len(list(out.glob("clips/*/*.mp4"))) == CLIPS
    log = videogen("logs", out, "--json").wait(60)
    events = [json.loads(line)["event"] for line in log.out.splitlines()]
    assert events.count("clip_done") == CLIPS
    assert events.count("run_ended") == 2
    assert events.count("stop_asked") == 1

    for path in (path for path in out.rglob("*") if path.is_file()):
        assert SECRET.encode() not in path.read_bytes(), path
        assert head.token.encode() not in path.read_bytes(), path
    assert SECRET not in again.out + again.err
    assert head.token not in again.out + again.err


def test_a_wrong_token_is_one_sentence(
    videogen: Callable[..., Any],
    submission: list[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    ended = videogen(*submission).wait(60)
    assert ended.code == 3
    assert "ray get-auth-token --generate" in ended.err
    assert "Traceback" not in ended.err
    assert not (tmp_path / "out").exists()
