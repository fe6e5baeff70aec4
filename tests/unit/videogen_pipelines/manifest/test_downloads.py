"""Manifests in an object store read like files, and messages name their address."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from tests.s3.proxy import FaultProxy
from tests.s3.server import S3Server
from videogen.errors import StorageError
from videogen.requests import SamplingDefaults
from videogen.storage import open_parent
from videogen_pipelines.manifest import ManifestError, iter_requests, validate_manifest
from videogen_pipelines.manifest.sources import find_source

ROWS = b'{"id": "a", "prompt": "a red circle"}\n{"id": "b", "prompt": "a blue square"}\n'


@pytest.fixture
def defaults() -> SamplingDefaults:
    return SamplingDefaults(
        num_frames=5,
        height=32,
        width=32,
        num_inference_steps=2,
        fps=8,
        guidance_scale=1,
        sampler="euler",
    )


@pytest.fixture
def upload(s3_env: S3Server, fault_proxy: FaultProxy):
    folder = s3_env.uri()

    def store(name: str, content: bytes | Path) -> str:
        storage, key = open_parent(f"{folder}/{name}")
        storage.put(key, content)
        return f"{folder}/{name}"

    return store


def table(path: Path) -> Path:
    parquet.write_table(
        pyarrow.table({"id": ["a", "b"], "prompt": ["a red circle", "a blue square"]}), path
    )
    return path


def test_every_format_is_read(upload, defaults, tmp_path: Path) -> None:
    manifests = [
        upload("rows.jsonl", ROWS),
        upload("rows.jsonl.gz", gzip.compress(ROWS)),
        upload("zipped.jsonl", gzip.compress(ROWS)),
        upload("rows.CSV", b"id,prompt\na,a red circle\nb,a blue square\n"),
        upload("rows.parquet", table(tmp_path / "rows.parquet")),
    ]
    for uri in manifests:
        report = validate_manifest(uri, defaults)
        requests = list(iter_requests(uri, defaults, digest=report.digest))
        assert [request.id for request in requests] == ["a", "b"]
        assert report.path == uri


def test_the_digest_is_that_of_the_object(upload, defaults) -> None:
    content = gzip.compress(ROWS)
    report = validate_manifest(upload("rows.jsonl.gz", content), defaults)
    assert report.digest == hashlib.sha256(content).hexdigest()


def test_it_is_downloaded_once_a_check(upload, defaults, fault_proxy: FaultProxy) -> None:
    uri = upload("rows.jsonl", ROWS)
    report = validate_manifest(uri, defaults)
    for _ in range(3):
        assert len(list(iter_requests(uri, defaults, digest=report.digest))) == 2
    assert fault_proxy.count("GET", r"rows\.jsonl") == 1
    upload("rows.jsonl", ROWS + b'{"prompt": "one more"}\n')
    assert validate_manifest(uri, defaults).num_rows == 3


def test_no_file_is_left_for_anybody_to_remove(
    upload, defaults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    validate_manifest(upload("rows.jsonl", ROWS), defaults)
    assert list(tmp_path.iterdir()) == []


def test_mistakes_name_the_address(upload, defaults) -> None:
    uri = upload("rows.jsonl", b'{"prompt": "a"}\n{"promt": "b"}\n')
    report = validate_manifest(uri, defaults)
    assert str(report.errors[0]).startswith(f"{uri}: line 2: ")
    cut = upload("cut.jsonl.gz", gzip.compress(ROWS * 999)[:-9])
    for name, expected in ((cut, "damaged data"), (upload("x.png", b""), r"'\.png'")):
        with pytest.raises(ManifestError, match=rf"^{name}: got .*{expected}") as caught:
            validate_manifest(name, defaults)
        assert "/proc" not in str(caught.value)
        assert "/tmp" not in str(caught.value)


def test_an_object_that_is_not_there(s3_env: S3Server) -> None:
    uri = f"{s3_env.uri()}/rows.jsonl"
    with pytest.raises(ManifestError, match=rf"^{uri}: got no such object, expected a manifest"):
        find_source(uri)


def test_a_store_that_refuses(upload, fault_proxy: FaultProxy) -> None:
    uri = upload("rows.jsonl", ROWS)
    fault_proxy.add("refuse", status=403, times=9)
    with pytest.raises(StorageError, match=rf"{uri}: got AccessDenied .* Fix: allow s3:GetObject"):
        find_source(uri, anew=True)


@pytest.mark.parametrize("uri", ["s3://bucket", "s3://bucket/", "s3://bucket/x/"])
def test_an_address_without_an_object(uri: str) -> None:
    with pytest.raises(StorageError, match="Fix: "):
        find_source(uri, "jsonl")


def test_a_broken_download_goes_on(upload, defaults, fault_proxy: FaultProxy) -> None:
    uri = upload("rows.jsonl", ROWS)
    fault_proxy.add("truncate_reply", method="GET", times=2)
    assert validate_manifest(uri, defaults).num_rows == 2
