"""`videogen submit`: what becomes of the options of `generate`, and what a cluster is sent."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image

from tests.job_server import JobServer, running_job_server
from videogen.storage import LocalStorage
from videogen_pipelines.cli.app import run
from videogen_pipelines.cli.forwarded_options import ForwardedOptions
from videogen_pipelines.cli.shipped_code import check_code
from videogen_pipelines.config import load_run_config
from videogen_pipelines.control import note_submitted, read_stop
from videogen_pipelines.sidecar import now
from videogen_pipelines.status import Coordinator, Status, write_status
from videogen_pipelines.submission import job_prefix


def test_options_mean_the_same_on_a_machine_without_these_files(tmp_path: Path):
    config = tmp_path / "run.yaml"
    config.write_text(
        "schema: 1\noutput:\n  codec: hevc\ncluster:\n  gang: {seq_degree: 1}\n"
        "sampling:\n  guidance_interval: [0.1, 0.9]\n"
    )
    wanted = ForwardedOptions.parse(
        [
            *("rows.jsonl", "-o", "s3://b/run", "-c", str(config), "--gangs", "3", "--limit", "7"),
            *("--map", "prompt=caption", "--map", "id=name", "--bad-rows", "skip"),
            *("--set", "output.crf=30", "--model", str(tmp_path)),
        ]
    )
    said = wanted.arguments("s3://b/run/inputs/ab.jsonl", "s3://b/run")
    assert said[:3] == ["s3://b/run/inputs/ab.jsonl", "--out", "s3://b/run"]
    assert str(config) not in said
    assert said[said.index("--model") + 1] == str(tmp_path.resolve())

    again = ForwardedOptions.parse(said).params
    assert (again["manifest"], again["gangs"], again["limit"]) == (said[0], 3, 7)
    assert list(again["column_map"]) == ["prompt=caption", "id=name"]
    settings = load_run_config(None, list(again["overrides"]))
    assert (settings.output.codec, settings.output.crf) == ("hevc", 30)
    assert settings.cluster.address == "auto"
    assert settings.sampling.guidance_interval == (0.1, 0.9)
    assert settings.cluster.gang.seq_degree == 1


def test_prompts_go_as_they_are():
    wanted = ForwardedOptions.parse(
        ["--prompt", "it's; $HOME", "-p", "two", "--seed", "0", "--out", "o"]
    )
    said = wanted.arguments(None, "/o")
    assert said[:8] == ["--out", "/o", "--prompt", "it's; $HOME", "--prompt", "two", "--seed", "0"]


def test_pictures_are_named_as_the_cluster_sees_them():
    wanted = ForwardedOptions.parse(
        ["-p", "a cat", "--image", "cat.png", "--duration", "3", "--loop", "--out", "o"]
    )
    said = wanted.arguments(None, "/o", {"image": "s3://b/run/inputs/ab.png"})
    again = ForwardedOptions.parse(said).params
    assert again["image"] == "s3://b/run/inputs/ab.png"
    assert (again["duration"], again["loop"]) == (3.0, True)


def test_what_was_not_said_is_left_to_the_cluster():
    assert ForwardedOptions.parse(["rows.jsonl", "--out", "o"]).arguments("m", "o") == [
        *("m", "--out", "o", "--set", 'cluster.address="auto"')
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--out", "o"],
        ["rows.jsonl", "--prompt", "p"],
        ["rows.jsonl", "--image", "cat.png"],
        ["rows.jsonl", "--dry-run"],
        ["rows.jsonl", "--nonsense"],
        ["rows.jsonl", "--gangs", "0"],
    ],
)
def test_wrong_options_are_named_here(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    assert run(["submit", *arguments]) == 2
    assert "Error" in capsys.readouterr().err


def test_bad_usage_is_an_error_of_the_command_line():
    with pytest.raises(typer.BadParameter):
        ForwardedOptions.parse(["rows.jsonl", "--dry-run"])


def test_a_cluster_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out"
    arguments = ["--prompt", "red", "--out", str(out), "--address", "http://127.0.0.1:9", "--json"]
    assert run(["submit", *arguments]) == 3
    assert "got no answer" in json.loads(capsys.readouterr().out)["message"]
    assert not out.exists()


def test_a_cluster_with_other_code_refuses_the_job(monkeypatch: pytest.MonkeyPatch):
    from videogen_cluster.handshake import code_digest
    from videogen_cluster.session import ClusterError

    def submitted_with(code: str) -> None:
        config = {"metadata": {"job_submission_id": "j", "videogen_code": code}}
        monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(config))

    submitted_with(code_digest())
    check_code()
    submitted_with("0123456789ab")
    with pytest.raises(ClusterError, match=r"expected 0123456789ab.*--ship always"):
        check_code()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobServer]:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    with running_job_server() as server:
        yield server


def test_a_submission_from_end_to_end(
    server: JobServer, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out"
    rows.write_text('{"id": "a", "prompt": "red"}\n')
    target = ["--out", str(out), "--model", str(tiny_model), "--address", server.address]
    assert run(["submit", str(rows), *target, "--ship", "never", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (job,) = server.jobs.values()
    assert found == {
        "job_id": job["submission_id"],
        "out": str(out),
        "address": server.address,
    }
    command = shlex.split(job["entrypoint"])
    assert Path(command[5]).read_text() == rows.read_text()
    assert command[6:8] == ["--out", str(out)]
    assert command[-2:] == ["--set", 'cluster.address="auto"']
    assert job["runtime_env"] == {}

    assert run(["status", str(out), "--json"]) == 0
    seen = json.loads(capsys.readouterr().out)
    assert (seen["state"], seen["submitted"]["job_id"]) == ("submitted", job["submission_id"])
    assert run(["logs", str(out), "--address", server.address]) == 0
    assert capsys.readouterr().out == "what it printed\n"

    assert run(["submit", str(rows), *target, "--ship", "never"]) == 2
    assert "which works on it (RUNNING)" in capsys.readouterr().err
    assert run(["cancel", str(out)]) == 0
    assert job["status"] == "STOPPED"
    assert "had not started" in capsys.readouterr().out


def test_bad_rows_are_refused_before_anything_is_sent(
    server: JobServer, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out"
    rows.write_text('{"id": "a", "prompt": 5}\n')
    target = ["--out", str(out), "--model", str(tiny_model), "--address", server.address]
    assert run(["submit", str(rows), *target]) == 2
    assert "line 1" in capsys.readouterr().err
    assert server.jobs == {}
    assert not out.exists()


def test_pictures_named_by_absolute_paths_stay_here(
    server: JobServer, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    picture, rows, out = tmp_path / "a.png", tmp_path / "rows.jsonl", tmp_path / "out"
    Image.new("RGB", (32, 32)).save(picture)
    target = ["--out", str(out), "--model", str(tiny_model), "--address", server.address]

    def submit(image: str, *options: str) -> int:
        rows.write_text(json.dumps({"id": "a", "prompt": "red", "image": image}) + "\n")
        return run(["submit", str(rows), *target, "--ship", "never", *options])

    assert submit(str(picture)) == 2
    assert "absolute path in a row" in capsys.readouterr().err
    assert server.jobs == {}
    assert not out.exists()
    assert submit(picture.name) == 0
    assert list(out.glob("inputs/*/a.png"))
    server.jobs.clear()
    assert submit(str(picture), "--shared") == 0


def start_job(server: JobServer, uri: str) -> dict[str, Any]:
    name = f"{job_prefix(uri)}0001"
    job = {"submission_id": name, "type": "SUBMISSION", "status": "RUNNING"}
    server.jobs[name] = job | {"entrypoint": "x", "start_time": 1}
    return server.jobs[name]


def write_running(storage: LocalStorage, ago_s: float = 0.0) -> None:
    at = now() - timedelta(seconds=ago_s)
    coordinator = Coordinator(node="n", pid=1)
    status = Status(
        invocation=1, state="running", started_at=at, updated_at=at, coordinator=coordinator
    )
    write_status(storage, status)


def test_a_run_that_does_not_obey_is_stopped_by_its_cluster(
    server: JobServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    storage = LocalStorage(tmp_path / "out")
    job = start_job(server, storage.uri)
    write_running(storage)
    arguments = ["cancel", storage.uri, "--timeout", "1", "--address", server.address]
    assert run(arguments) == 3
    assert job["status"] == "STOPPED"
    assert "still running" in capsys.readouterr().out


@pytest.mark.parametrize("ago_s", [10, 300])
def test_cancelling_stops_the_job_that_is_to_continue_a_killed_run(
    server: JobServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], ago_s: float
):
    storage = LocalStorage(tmp_path / "out")
    write_running(storage, ago_s)
    job = start_job(server, storage.uri)
    note_submitted(storage, job["submission_id"], server.address)
    assert run(["cancel", storage.uri]) == 0
    assert job["status"] == "STOPPED"
    assert "had not started and is stopped" in capsys.readouterr().out
    asked = read_stop(storage)
    assert asked is not None, "it may not be dead"
    assert asked.invocation == 1
