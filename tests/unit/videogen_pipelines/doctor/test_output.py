"""An output is tried as runs use it, and nothing stays behind."""

from __future__ import annotations

from pathlib import Path

import pytest

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
    monkeypatch.setattr(output, "open_storage", lambda _: store)
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
    monkeypatch.setattr(output, "open_storage", lambda _: Memory())
    checks = {check.name: check for check in examine([output_family("s3://bucket/run")])}
    assert checks["credentials"].status == "failed"
    assert "AWS_PROFILE" in checks["credentials"].fix
