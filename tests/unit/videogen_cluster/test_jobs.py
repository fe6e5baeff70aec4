"""Ray Jobs over HTTP, against a job server of our own that remembers what it is sent."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.dashboard.modules import dashboard_sdk

from tests.job_server import JobServer, running_job_server
from videogen_cluster.jobs import JobRequest, Jobs, _Tail, check_address, this_job
from videogen_cluster.session import ClusterError


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[JobServer]:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    # Ray keeps the token of the first cluster that this process has had, and would send it.
    monkeypatch.setattr(dashboard_sdk, "get_auth_headers_if_auth_enabled", lambda _headers: {})
    with running_job_server() as server:
        yield server


def test_a_job_is_what_was_asked_for(server: JobServer):
    request = JobRequest("a-1", "python -c 1", (), {"AWS_REGION": "x"}, {"videogen_code": "c"})
    jobs = Jobs(server.address)
    jobs.submit(request)
    sent = server.jobs["a-1"]
    assert sent["entrypoint"] == "python -c 1"
    assert sent["runtime_env"] == {"env_vars": {"AWS_REGION": "x"}}
    assert sent["metadata"] == {"videogen_code": "c"}
    assert jobs.logs("a-1") == "what it printed\n"
    (found,) = jobs.of("a-")
    assert (found.id, found.status, found.ended) == ("a-1", "RUNNING", False)
    assert jobs.of("b-") == []
    jobs.stop("a-1")
    assert jobs.get("a-1").ended


def test_packages_go_along_once_whatever_python_left_in_them(server: JobServer, tmp_path: Path):
    package = tmp_path / "ours"
    (package / "assets").mkdir(parents=True)
    (package / "__init__.py").write_text("x = 1\n")
    (package / "assets/weights.bin").write_bytes(b"1234")
    (package / ".gitignore").write_text("assets/\n")
    jobs = Jobs(server.address)
    for number in range(2):
        (package / "__pycache__").mkdir(exist_ok=True)
        (package / f"__pycache__/{number}.pyc").write_bytes(bytes(number + 1))
        jobs.submit(JobRequest(f"job-{number}", "true", [package]))
    (name,) = server.packages
    with zipfile.ZipFile(io.BytesIO(server.packages[name])) as archive:
        files = {entry for entry in archive.namelist() if not entry.endswith("/")}
    assert files == {"ours/__init__.py", "ours/assets/weights.bin"}
    assert server.jobs["job-1"]["runtime_env"]["py_modules"] == [f"gcs://{name}"]


def test_the_address_given_wins_over_the_environment(
    server: JobServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RAY_ADDRESS", "http://192.0.2.1:8265")
    assert Jobs(server.address + "/").all() == []


@pytest.mark.parametrize("place", ["variable", "path", "home"])
def test_a_token_is_sent_when_it_is_asked_for(
    server: JobServer, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    server.token = "f" * 32
    if place == "variable":
        monkeypatch.setenv("RAY_AUTH_TOKEN", server.token)
    else:
        path = tmp_path / ("token" if place == "path" else ".ray/auth_token")
        path.parent.mkdir(exist_ok=True)
        path.write_text(server.token + "\n")
        if place == "path":
            monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    assert Jobs(server.address).all() == []


def test_a_token_is_not_sent_where_nobody_asks(server: JobServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "f" * 32)
    Jobs(server.address).all()
    assert set(server.tokens_seen) == {None}


@pytest.mark.parametrize(("token", "said"), [(None, "no token"), ("0" * 32, "does not know")])
def test_a_missing_or_wrong_token_is_one_sentence(
    server: JobServer, token: str | None, said: str, monkeypatch: pytest.MonkeyPatch
):
    server.token = "f" * 32
    if token:
        monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    with pytest.raises(ClusterError, match=said) as caught:
        Jobs(server.address)
    assert "ray get-auth-token --generate" in str(caught.value)
    assert "0" * 32 not in str(caught.value)


def test_nobody_answers():
    with pytest.raises(ClusterError, match="got no answer"):
        Jobs("http://127.0.0.1:9")


def test_a_refusal_is_its_last_line(server: JobServer):
    jobs = Jobs(server.address)
    jobs.submit(JobRequest("same", "true"))
    with pytest.raises(ClusterError, match="already exists"):
        jobs.submit(JobRequest("same", "true"))
    with pytest.raises(ClusterError, match="does not exist"):
        jobs.get("other")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("head:8265", "http://head:8265"),
        ("http://head:8265/", "http://head:8265"),
        ("https://head/x", "https://head"),
    ],
)
def test_addresses(given: str, expected: str):
    assert check_address(given) == expected


@pytest.mark.parametrize("given", ["ray://head:10001", "http://", "http://user:word@head:8265"])
def test_other_addresses_are_refused_without_their_passwords(given: str):
    with pytest.raises(ClusterError, match="Fix") as caught:
        check_address(given)
    assert "word@" not in str(caught.value)


def test_a_stream_that_breaks_is_read_on_without_doubles():
    import asyncio

    async def stream(*texts: str) -> Any:
        for text in texts:
            yield text

    heard: list[str] = []
    tail = _Tail(heard.append)
    asyncio.run(tail.run(stream("ab", "cd")))
    asyncio.run(tail.run(stream("abc", "def", "g")))
    assert "".join(heard) == "abcdefg"


def test_a_process_knows_its_job(monkeypatch: pytest.MonkeyPatch):
    assert this_job().id is None
    config = {
        "metadata": {
            "job_submission_id": "videogen-1",
            "videogen_address": "http://head:8265",
            "videogen_code": "abc",
        }
    }
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(config))
    job = this_job()
    assert (job.id, job.address, job.code) == ("videogen-1", "http://head:8265", "abc")
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "no json")
    assert this_job().id is None
