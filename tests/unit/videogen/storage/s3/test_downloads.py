from __future__ import annotations

import itertools
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.s3.proxy import FaultProxy
from tests.s3.server import S3Server
from videogen.errors import StorageError
from videogen.storage.s3 import S3Storage

DATA = os.urandom(5 * 2**20 + 7)


@pytest.fixture
def stored(storage: S3Storage) -> S3Storage:
    storage.put("x", DATA)
    return storage


def test_a_broken_download_goes_on_where_it_stopped(
    stored: S3Storage, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    fault_proxy.add("truncate_reply", method="GET", times=2)
    stored.download("x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA
    assert fault_proxy.count("GET", "/x") == 3


def test_a_broken_read_goes_on(stored: S3Storage, fault_proxy: FaultProxy) -> None:
    fault_proxy.add("truncate_reply", method="GET")
    fault_proxy.add("refuse", method="GET")
    assert stored.read("x") == DATA


def test_an_object_replaced_during_a_broken_download_is_read_whole(
    stored: S3Storage, direct: S3Storage, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    other = os.urandom(len(DATA))
    fault_proxy.add("truncate_reply", method="GET")
    fault_proxy.add("pass", method="GET", before=lambda: direct.put("x", other))
    stored.download("x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == other


def test_a_download_that_never_ends_fails_and_leaves_no_file(
    stored: S3Storage, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    fault_proxy.add("truncate_reply", method="GET")
    fault_proxy.add("refuse", method="GET", status=403, times=float("inf"))
    with pytest.raises(StorageError, match="s3:GetObject"):
        stored.download("x", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def slow_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every break comes longer after the one before than an operation may be tried."""
    times = itertools.count(step=1000.0)
    clock = SimpleNamespace(monotonic=lambda: next(times), sleep=lambda seconds: None)
    monkeypatch.setattr("videogen.storage.s3.requests.time", clock)


@pytest.mark.usefixtures("slow_time")
def test_a_download_may_break_for_hours_while_more_of_it_arrives(
    stored: S3Storage, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    fault_proxy.add("truncate_reply", method="GET", times=4)
    stored.download("x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA


@pytest.mark.usefixtures("slow_time")
def test_a_download_that_is_damaged_again_and_again_fails(
    stored: S3Storage, fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from videogen.storage.s3 import downloads

    damaging = SimpleNamespace(crc32=lambda chunk, crc: 7)
    monkeypatch.setattr(downloads, "zlib", damaging)
    for _ in range(5):
        fault_proxy.add("truncate_reply", method="GET")
        fault_proxy.add("pass", method="GET")
    with pytest.raises(StorageError, match="damaged ones again and again"):
        stored.read("x")


def test_damaged_bytes_are_noticed(
    stored: S3Storage, s3_env: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checksum that was stored with the object is compared with what arrives."""
    from videogen.storage.s3 import downloads

    real, damaged = downloads.zlib.crc32, []

    def damaged_once(chunk: bytes, crc: int) -> int:
        damaged.append(chunk)
        return real(chunk, crc) ^ (len(damaged) == 1)

    monkeypatch.setattr(downloads, "zlib", type("Zlib", (), {"crc32": staticmethod(damaged_once)}))
    assert stored.read("x") == DATA
    assert sum(map(len, damaged)) == 2 * len(DATA)  # read twice


def test_an_empty_object(storage: S3Storage, tmp_path: Path) -> None:
    storage.create("x", b"")
    storage.download("x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b""
