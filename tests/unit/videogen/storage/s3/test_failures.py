"""Every refusal is named with a remedy, and no secret ever appears in one."""

from __future__ import annotations

import logging
import pickle
import socket
import time
import traceback
from pathlib import Path

import pytest

from tests.s3.proxy import FaultProxy
from tests.s3.server import S3Server
from videogen.errors import StorageError
from videogen.storage import MissingKeyError
from videogen.storage.s3 import S3Options, S3Storage

FOREVER = float("inf")
PLANTED = {
    "AWS_ACCESS_KEY_ID": "AKIAPLANTEDKEY123456",
    "AWS_SECRET_ACCESS_KEY": "planted-secret",
    "AWS_SESSION_TOKEN": "planted-token",
}


@pytest.mark.parametrize("call", ["exists", "read", "size", "create", "list", "lock"])
def test_a_missing_bucket(s3_env: S3Server, options: S3Options, call: str) -> None:
    storage = S3Storage("s3://no-such-bucket/out", options)
    with pytest.raises(StorageError, match=r"no-such-bucket.* Fix: create the bucket") as caught:
        match call:
            case "create":
                storage.create("x", b"x")
            case "list":
                list(storage.list())
            case "lock":
                storage.lock().__enter__()
            case _:
                getattr(storage, call)("x")
    assert not isinstance(caught.value, MissingKeyError)


@pytest.mark.parametrize(
    ("status", "code", "fix"),
    [
        (403, "AccessDenied", r"allow s3:PutObject"),
        (403, "InvalidAccessKeyId", r"set AWS_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", r"AWS_PROFILE"),
        (400, "ExpiredToken", r"set AWS_ACCESS_KEY_ID"),
        (403, "RequestTimeTooSkewed", r"clock"),
        (400, "AuthorizationHeaderMalformed", r"set AWS_DEFAULT_REGION"),
        (400, "IllegalLocationConstraintException", r"set AWS_DEFAULT_REGION"),
        (507, "XMinioStorageFull", r"free some space"),
    ],
)
def test_refusals(
    storage: S3Storage, fault_proxy: FaultProxy, status: int, code: str, fix: str
) -> None:
    fault_proxy.add("refuse", method="PUT", status=status, code=code, times=FOREVER)
    with pytest.raises(StorageError, match=rf"/x: got {code} .*expected success\. Fix: .*{fix}"):
        storage.create("x", b"x")
    assert fault_proxy.counts[f"refuse {status}"] <= 2, "trying again would not help"


@pytest.mark.parametrize(
    ("call", "permission"),
    [
        (lambda s: s.read("x"), "s3:GetObject and s3:ListBucket"),
        (lambda s: s.exists("x"), "s3:GetObject and s3:ListBucket"),
        (lambda s: list(s.list()), "s3:ListBucket"),
        (lambda s: s.delete("x"), "s3:DeleteObject"),
        (lambda s: s.put("x", b""), "s3:PutObject"),
    ],
)
def test_a_lacking_permission_is_named(
    storage: S3Storage, fault_proxy: FaultProxy, call: object, permission: str
) -> None:
    fault_proxy.add("refuse", status=403, times=FOREVER)
    with pytest.raises(StorageError, match=f"Fix: allow {permission} on"):
        call(storage)  # type: ignore[operator]


def test_no_credentials(
    s3_env: S3Server, options: S3Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StorageError, match=r"no usable credentials .* Fix: set AWS_ACCESS_KEY_ID"):
        S3Storage(s3_env.uri(), options).read("x")


def test_a_profile_that_does_not_exist(
    s3_env: S3Server, options: S3Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StorageError, match=r"nobody.* Fix: .*AWS_PROFILE"):
        S3Storage(s3_env.uri(), options).read("x")


def test_a_profile_is_used(
    s3_env: S3Server, options: S3Options, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text(
        "[profile ours]\naws_access_key_id = a\naws_secret_access_key = b\n"
        f"endpoint_url = {s3_env.endpoint}\nregion = us-east-1\n"
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "ours")
    assert S3Storage(s3_env.uri(), options).create("x", b"x")


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_an_endpoint_that_is_not_there(
    s3_env: S3Server, options: S3Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed_port()}")
    started = time.monotonic()
    with pytest.raises(StorageError, match=r"no complete answer .* Fix: check .*AWS_ENDPOINT_URL"):
        S3Storage(s3_env.uri(), options).read("x")
    assert time.monotonic() - started < 2


def test_an_impossible_endpoint(
    s3_env: S3Server, options: S3Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    with pytest.raises(StorageError, match=r"boto3 refuses .* Fix: check AWS_ENDPOINT_URL"):
        S3Storage(s3_env.uri(), options).read("x")


def test_a_failure_travels_between_processes(storage: S3Storage, fault_proxy: FaultProxy) -> None:
    fault_proxy.add("refuse", status=403, times=FOREVER)
    with pytest.raises(StorageError) as caught:
        storage.read("x")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)
    assert copy.status == 403


def shown(error: BaseException) -> str:
    """What logs and crash reports could show: what led to it, and our functions' variables."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    causes = [error]
    while causes[-1].__cause__ or causes[-1].__context__:
        causes.append(causes[-1].__cause__ or causes[-1].__context__)
    ours = [frame for frame in report.stack if frame.filename != __file__]
    assert ours
    return f"{causes}{[frame.locals for frame in ours]}"


@pytest.mark.parametrize("kind", ["refused", "unreachable", "impossible", "bucket", "echoed"])
def test_planted_secrets_never_appear(
    s3_env: S3Server,
    fault_proxy: FaultProxy,
    options: S3Options,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    host = fault_proxy.endpoint.removeprefix("http://")
    if kind == "unreachable":
        host = f"127.0.0.1:{closed_port()}"
    url = f"http://user:planted-password@{host}?sig=planted"
    if kind == "impossible":
        url = "http://user:planted-password@[nonsense?sig=planted"
    if kind in ("unreachable", "impossible"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    code = {"refused": "AccessDenied", "echoed": "planted-secret planted-token"}.get(kind)
    if code:
        fault_proxy.add("refuse", status=403, code=code, times=FOREVER)
    bucket = "no-such-bucket" if kind == "bucket" else s3_env.bucket
    with caplog.at_level(logging.DEBUG):
        storage = S3Storage(f"s3://{bucket}/planting", options)
        with pytest.raises(StorageError) as caught:
            storage.create("x", b"x")
    seen = f"{storage!r}{shown(caught.value)}{caplog.text}{caught.value}"
    for secret in ("planted-secret", "planted-token", "planted-password", "sig=planted", "AKIAPL"):
        assert secret not in seen
