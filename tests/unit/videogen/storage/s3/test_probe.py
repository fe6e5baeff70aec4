"""Stores that enforce, ignore and refuse conditional writes are told apart, without garbage."""

from __future__ import annotations

import logging

import pytest

from tests.s3.proxy import FaultProxy
from tests.s3.server import S3Server
from videogen.errors import StorageError
from videogen.storage.s3 import S3Storage
from videogen.storage.s3.probe import Capabilities

FOREVER = float("inf")


def garbage(server: S3Server, unknown: S3Storage) -> list[str]:
    prefix = unknown.uri.removeprefix(f"s3://{server.bucket}/")
    client = server.client()
    objects = client.list_objects_v2(Bucket=server.bucket, Prefix=prefix).get("Contents", ())
    uploads = client.list_multipart_uploads(Bucket=server.bucket, Prefix=prefix)
    return [entry["Key"] for entry in (*objects, *uploads.get("Uploads", ()))]


def test_a_store_that_enforces(unknown: S3Storage, s3_env: S3Server) -> None:
    assert unknown.probe() == Capabilities(create_only=True, compare_and_swap=True)
    assert unknown.conditional_writes
    assert garbage(s3_env, unknown) == []


def test_it_is_asked_once(unknown: S3Storage, fault_proxy: FaultProxy) -> None:
    assert unknown.conditional_writes
    num_requests = len(fault_proxy.requests)
    assert unknown.conditional_writes
    assert len(fault_proxy.requests) == num_requests


def test_a_store_that_ignores_conditions(
    unknown: S3Storage,
    s3_env: S3Server,
    fault_proxy: FaultProxy,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fault_proxy.add("strip", times=FOREVER)
    with caplog.at_level(logging.WARNING):
        assert unknown.probe() == Capabilities(create_only=False, compare_and_swap=False)
    assert "one process alone" in caplog.text
    assert garbage(s3_env, unknown) == []


@pytest.mark.parametrize(
    ("status", "code"), [(501, "NotImplemented"), (400, "InvalidArgument"), (304, "NotModified")]
)
def test_a_store_that_refuses_conditions(
    unknown: S3Storage, s3_env: S3Server, fault_proxy: FaultProxy, status: int, code: str
) -> None:
    fault_proxy.add("refuse", has_header="If-None-Match", status=status, code=code, times=FOREVER)
    assert unknown.probe() == Capabilities(create_only=False, compare_and_swap=True)
    assert garbage(s3_env, unknown) == []


def test_a_store_that_ignores_them_for_uploads_in_parts_alone(
    unknown: S3Storage, s3_env: S3Server, fault_proxy: FaultProxy
) -> None:
    fault_proxy.add("strip", method="POST", times=FOREVER)
    assert not unknown.conditional_writes
    assert garbage(s3_env, unknown) == []


def test_without_conditions_create_looks_first(unknown: S3Storage, fault_proxy: FaultProxy) -> None:
    fault_proxy.add("refuse", has_header="If-None-Match", status=501, times=FOREVER)
    assert unknown.create("x", b"one", {"clip_id": "c"})
    assert not unknown.create("x", b"two")
    assert unknown.read("x") == b"one"
    assert unknown.metadata("x") == {"clip_id": "c"}


def test_a_bad_day_of_the_store_is_no_lack_of_conditions(
    unknown: S3Storage, fault_proxy: FaultProxy
) -> None:
    fault_proxy.add("refuse", times=3)
    fault_proxy.add("lose_reply", method="PUT", times=3)
    fault_proxy.add("lose_reply", method="POST", times=2)
    assert unknown.conditional_writes


def test_a_store_that_cannot_be_written_is_an_error(
    unknown: S3Storage, fault_proxy: FaultProxy
) -> None:
    fault_proxy.add("refuse", method="PUT", status=403, times=FOREVER)
    with pytest.raises(StorageError, match=r"AccessDenied .* Fix: allow s3:PutObject"):
        _ = unknown.conditional_writes


def test_a_probe_that_cannot_be_removed_is_named(
    unknown: S3Storage, fault_proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    fault_proxy.add("refuse", method="DELETE", path="probe-[0-9a-f]*$", status=403, times=FOREVER)
    with caplog.at_level(logging.WARNING):
        assert unknown.conditional_writes
    assert "stays behind" in caplog.text
    assert "s3:DeleteObject" in caplog.text
