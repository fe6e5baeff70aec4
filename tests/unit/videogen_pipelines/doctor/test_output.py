"""An output is tried as runs use it, and nothing stays behind."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from tests.s3.server import S3Server
from videogen.storage import LocalStorage
from videogen_pipelines.doctor import output
from videogen_pipelines.doctor.checks import Check
from videogen_pipelines.doctor.examination import examine
from videogen_pipelines.doctor.output import conditional_finding, output_family


class Memory:
    """An object store in a dictionary, as good as it is told to be."""

    uri = "s3://bucket/run"

    def __init__(self, *, conditional: bool = True, overwrites: bool = False) -> None:
        self.conditional_writes = conditional
        self.overwrites = overwrites
        self.kept: dict[str, bytes] = {}

    def create(self, key: str, data: bytes) -> bool:
        if key in self.kept and not self.overwrites:
            return False
        self.kept[key] = data
        return True

    def read(self, key: str) -> bytes:
        return self.kept[key]

    def exists(self, key: str) -> bool:
        return key in self.kept

    def list(self, prefix: str = "") -> list[str]:
        return [key for key in self.kept if key.startswith(prefix)]

    def delete(self, key: str) -> None:
        self.kept.pop(key, None)


def statuses(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.status.value for check in checks}


def try_store(store: Memory, monkeypatch: pytest.MonkeyPatch) -> dict[str, Check]:
    monkeypatch.setattr(output, "open_soon", lambda _: store)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "planted-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret")
    return {check.name: check for check in examine([output_family("s3://bucket/run")])}


def test_a_new_folder_passes_and_is_gone_afterwards(tmp_path: Path):
    checks = examine([output_family(str(tmp_path / "new" / "run"))])
    assert set(statuses(checks).values()) == {"ok"}
    assert {"write", "create-only", "links and fsync", "free space"} <= set(statuses(checks))
    assert list(tmp_path.iterdir()) == []


def test_what_was_in_the_folder_stays(tmp_path: Path):
    LocalStorage(tmp_path).create("run.json", b"{}")
    examine([output_family(str(tmp_path))])
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_an_output_that_cannot_be_written_fails_once(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    found = statuses(examine([output_family(str(tmp_path / "file" / "run"))]))
    assert found["write"] == "failed"
    assert {found[name] for name in ("create-only", "read back", "list", "delete")} == {"skipped"}


def test_no_output_is_no_failure():
    assert statuses(examine([output_family(None)])) == {"output": "skipped"}


def test_a_good_object_store_passes_without_showing_its_credentials(monkeypatch):
    store = Memory()
    checks = try_store(store, monkeypatch)
    assert {check.status.value for check in checks.values()} == {"ok"}
    assert checks["credentials"].found.startswith("from the environment, region")
    assert "planted" not in str(checks)
    assert store.kept == {}


def test_a_store_that_overwrites_fails(monkeypatch):
    checks = try_store(Memory(overwrites=True), monkeypatch)
    assert checks["create-only"].status == "failed"
    assert checks["read back"].status == "failed"


def test_a_store_without_conditional_writes_is_a_warning():
    assert conditional_finding(Memory()).status == "ok"
    finding = conditional_finding(Memory(conditional=False))
    assert finding.status == "warning" and "coordinator" in finding.found


def test_no_credentials_fail(monkeypatch):
    monkeypatch.setattr("videogen.storage.s3.credentials.credential_source", lambda: None)
    monkeypatch.setattr(output, "open_soon", lambda _: Memory())
    checks = {check.name: check for check in examine([output_family("s3://bucket/run")])}
    assert checks["credentials"].status == "failed"
    assert "AWS_PROFILE" in checks["credentials"].fix


def test_an_object_store_is_tried_over_the_network(s3_env: S3Server):
    out = s3_env.uri()
    checks = {check.name: check for check in examine([output_family(out)])}
    assert {check.status.value for check in checks.values()} == {"ok"}, checks
    assert "planted" not in str(checks)
    listed = s3_env.client().list_objects_v2(Bucket=s3_env.bucket, Prefix=out.split("/", 3)[3])
    assert listed["KeyCount"] == 0


def test_a_bucket_that_does_not_exist_fails_with_a_remedy(s3_env: S3Server):
    checks = {c.name: c for c in examine([output_family("s3://no-such-bucket/run")])}
    assert checks["credentials"].status == "ok"
    assert checks["write"].status == "failed"
    assert "create the bucket" in checks["write"].fix


def test_a_store_that_does_not_answer_is_given_up_in_time(s3_env: S3Server, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(output, "READ_TIMEOUT_S", 0.5)
        monkeypatch.setattr(output, "GIVE_UP_S", 1.0)
        started = time.monotonic()
        checks = {c.name: c for c in examine([output_family("s3://bucket/run")])}
    assert time.monotonic() - started < 10
    assert checks["write"].status == "failed"
    assert checks["read back"].status == "skipped"


def test_an_address_with_credentials_is_refused_and_not_shown():
    checks = {c.name: c for c in examine([output_family("s3://key:planted-secret@bucket/run")])}
    assert checks["write"].status == "failed"
    assert "planted" not in str(checks)
