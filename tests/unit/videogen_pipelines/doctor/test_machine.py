"""The limits of a machine: what is too little, and what is only little."""

from __future__ import annotations

import resource
from collections import namedtuple
from pathlib import Path

import pytest

from videogen_pipelines.doctor import machine
from videogen_pipelines.doctor.machine import GIB

Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    "version,status", [((3, 10), "failed"), ((3, 11), "ok"), ((3, 12), "ok"), ((3, 13), "failed")]
)
def test_python_must_be_one_that_the_package_supports(version: tuple[int, int], status: str):
    assert machine.check_python(version).status == status


@pytest.mark.parametrize(
    "available,status", [(GIB - 1, "failed"), (2 * GIB, "warning"), (3 * GIB, "ok")]
)
def test_memory(available: int, status: str):
    finding = machine.check_memory(available)
    assert finding.status == status
    assert bool(finding.fix) == (status != "ok")


def test_available_memory_is_that_of_the_container(tmp_path: Path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "_CGROUP_LIMITS", (limit, tmp_path / "absent"))
    limit.write_text("max\n")
    whole = machine.available_memory()
    limit.write_text("1048576\n")
    assert machine.available_memory() == 1048576 < whole


def test_shared_memory_that_is_small_or_missing_is_a_warning(tmp_path: Path, monkeypatch):
    assert machine.check_shared_memory(tmp_path / "absent").status == "warning"
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: Usage(0, 0, 64 * 2**20))
    found = machine.check_shared_memory(tmp_path)
    assert found.status == "warning" and "--shm-size" in found.fix
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: Usage(0, 0, GIB))
    assert machine.check_shared_memory(tmp_path).status == "ok"


@pytest.mark.parametrize(
    "limits,status",
    [
        ((1024, 1024), "warning"),
        ((1024, 65536), "ok"),
        ((1024, resource.RLIM_INFINITY), "ok"),
    ],
)
def test_the_hard_limit_of_open_files_counts(limits: tuple[int, int], status: str):
    assert machine.check_open_files(limits).status == status


@pytest.mark.parametrize("free,status", [(2**20, "failed"), (GIB, "warning"), (9 * GIB, "ok")])
def test_disk(free: int, status: str, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: Usage(0, 0, free))
    finding = machine.check_disk(tmp_path / "not" / "yet", "TMPDIR")
    assert finding.status == status
    assert str(tmp_path) in finding.found


def test_the_disk_of_a_folder_to_come_is_that_of_its_parent(tmp_path: Path):
    assert machine.free_bytes(tmp_path / "a" / "b") > 0
    assert not (tmp_path / "a").exists()
