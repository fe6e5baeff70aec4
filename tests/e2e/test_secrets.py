"""Planted secrets: no file that a run writes, no line that it prints, may hold one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.s3.proxy import FaultProxy
from tests.s3.server import SECRET_KEY, S3Server

pytestmark = [pytest.mark.e2e, pytest.mark.cluster]

SESSION = "planted-session-token-of-the-tests"
RAY = "planted-ray-token-0123456789abcdef"
USERINFO = "planteduser:plantedword"
PLANTED = (SECRET_KEY, SESSION, RAY, *USERINFO.split(":"), "X-Amz-Signature", "AWS4-HMAC")


def holding(text: str | bytes) -> list[str]:
    """The planted secrets that are in it."""
    data = text.encode() if isinstance(text, str) else text
    return [secret for secret in PLANTED if secret.encode() in data]


def written(server: S3Server, uri: str) -> dict[str, bytes]:
    """Every object of a run with its metadata."""
    client, prefix = server.client(), uri.removeprefix(f"s3://{server.bucket}/")
    found = {}
    for each in client.list_objects_v2(Bucket=server.bucket, Prefix=prefix)["Contents"]:
        got = client.get_object(Bucket=server.bucket, Key=each["Key"])
        found[each["Key"]] = got["Body"].read() + json.dumps(got["Metadata"]).encode()
    return found


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch, s3_env: S3Server) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION)
    monkeypatch.setenv("RAY_AUTH_TOKEN", RAY)


def test_a_run_on_a_store_with_faults_writes_and_prints_none(
    start_program: Callable[..., Any],
    fault_proxy: FaultProxy,
    s3_env: S3Server,
    tiny_model: Path,
    tmp_path: Path,
):
    uri = s3_env.uri()
    fault_proxy.add_weather(0.05, delay_s=0.05)
    rows = [{"id": f"clip-{index}", "prompt": "a red circle"} for index in range(4)]
    rows.append({"id": "bad", "prompt": 5})
    manifest = tmp_path / "rows.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ("--model", tiny_model, "--bad-rows", "skip", "--gangs", 1, "--json")
    ended = start_program("generate", manifest, "--out", uri, *options).wait(200)
    assert ended.code == 1, ended.err
    said = {"generate": ended.out + ended.err}
    for command in ("status", "logs", "verify"):
        told = start_program(command, uri).wait(60)
        said[command] = told.out + told.err
    assert [name for name, text in said.items() if holding(text)] == []
    objects = written(s3_env, uri)
    kinds = {key.split("/")[1] for key in objects}
    assert {"run.json", "clips", "meta", "ledger", "events", "status.json"} <= kinds
    assert [key for key, data in objects.items() if holding(data)] == []


@pytest.mark.parametrize("command", ["generate", "cancel"])
def test_a_store_that_refuses_is_named_without_what_opens_it(
    command: str,
    start_program: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    s3_env: S3Server,
    tiny_model: Path,
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{USERINFO}@127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    out = ("--out", s3_env.uri()) if command == "generate" else (s3_env.uri(),)
    options = ("--prompt", "red", "--model", tiny_model) if command == "generate" else ()
    ended = start_program(command, *options, *out).wait(200)
    assert ended.code == 3
    assert "127.0.0.1:9" in ended.err
    assert holding(ended.out + ended.err) == []
