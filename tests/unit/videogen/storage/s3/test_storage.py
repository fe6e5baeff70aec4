from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from tests.s3.proxy import FaultProxy
from tests.s3.server import S3Server
from videogen.errors import StorageError
from videogen.storage import MissingKeyError, local_copy, open_storage
from videogen.storage.s3 import S3Storage


def test_create_never_overwrites(storage: S3Storage) -> None:
    assert storage.create("a/b.json", b"first", {"clip_id": "c1"})
    assert not storage.create("a/b.json", b"second", {"clip_id": "c2"})
    assert storage.read("a/b.json") == b"first"
    assert storage.metadata("a/b.json") == {"clip_id": "c1"}
    assert storage.size("a/b.json") == 5


def test_create_from_a_file_copies_it(storage: S3Storage, tmp_path: Path) -> None:
    source = tmp_path / "clip.mp4"
    source.write_bytes(b"frames" * 1000)
    assert storage.create("clips/x.mp4", source)
    source.write_bytes(b"the next clip")
    assert storage.read("clips/x.mp4") == b"frames" * 1000


def test_a_missing_source_is_named(storage: S3Storage, tmp_path: Path) -> None:
    with pytest.raises(MissingKeyError, match=r"gone\.mp4"):
        storage.create("clips/x.mp4", tmp_path / "gone.mp4")


def test_put_replaces(storage: S3Storage) -> None:
    storage.put("x", b"one")
    storage.put("x", b"two")
    assert storage.read("x") == b"two"


def test_what_is_replaced_has_another_revision_at_the_same_size(storage: S3Storage) -> None:
    storage.put("x", b"one")
    before = storage.revision("x")
    assert storage.revision("x") == before
    storage.put("x", b"two")
    assert storage.revision("x") != before


def test_absent_keys(storage: S3Storage, tmp_path: Path) -> None:
    assert not storage.exists("x")
    assert list(storage.list()) == []
    storage.delete("x")
    for call in (storage.read, storage.size, storage.metadata, storage.revision):
        with pytest.raises(MissingKeyError, match=r"x: got nothing .* Fix: "):
            call("x")
    with pytest.raises(MissingKeyError):
        storage.download("x", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_delete_frees_the_name(storage: S3Storage) -> None:
    storage.create("x", b"one")
    storage.delete("x")
    assert storage.create("x", b"two")


def test_list_is_paged_sorted_and_hides_dots(
    storage: S3Storage, s3_env: S3Server, fault_proxy: FaultProxy
) -> None:
    def three_a_page(params: dict, **_: object) -> None:
        params["MaxKeys"] = 3

    events = storage._requests.client.meta.events
    events.register("provide-client-params.s3.ListObjectsV2", three_a_page)
    client, folder = s3_env.client(), storage.uri.rpartition("/")[2]
    names = [f"clips/{number:02}" for number in range(12)]
    for name in [*names, "clips/.tmp", ".probe-1", "a/", "meta/x"]:
        client.put_object(Bucket=s3_env.bucket, Key=f"{folder}/{name}", Body=b"")
    client.put_object(Bucket=s3_env.bucket, Key=f"{folder}-other/x", Body=b"")
    assert list(storage.list("clips/")) == names
    assert fault_proxy.count("GET", "list-type=2") == 5
    assert list(storage.list("clips/0")) == names[:10]
    assert list(storage.list()) == [*names, "meta/x"]


def test_it_travels_as_its_address(storage: S3Storage) -> None:
    storage.create("x", b"x")
    copy = pickle.loads(pickle.dumps(storage))
    assert copy.read("x") == b"x"
    assert copy.uri == storage.uri


def test_a_whole_bucket_is_a_storage(s3_env: S3Server) -> None:
    whole = open_storage(f"s3://{s3_env.bucket}")
    name = s3_env.uri().rpartition("/")[2]
    assert whole.create(f"{name}/x", b"1")
    assert list(open_storage(f"s3://{s3_env.bucket}/{name}/").list()) == ["x"]


def test_bad_keys_are_refused_before_anything_is_sent(
    storage: S3Storage, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    for key in ("", "../x", "a//b", "a/.b", "/a", "a\nb"):
        for call in (
            lambda key: storage.create(key, b"x"),
            lambda key: storage.put(key, b"x"),
            storage.read,
            storage.metadata,
            storage.exists,
            storage.size,
            storage.delete,
            storage.open_local,
            lambda key: storage.download(key, tmp_path / "x"),
        ):
            with pytest.raises(StorageError, match=r"^key: got .* expected .* Fix: "):
                call(key)
    assert not fault_proxy.requests


def test_metadata_outside_ascii_is_refused(storage: S3Storage) -> None:
    with pytest.raises(StorageError, match="ASCII"):
        storage.create("x", b"x", {"prompt": "é"})


def test_local_copy_downloads_and_tidies(storage: S3Storage) -> None:
    storage.create("a/b.mp4", b"frames")
    with local_copy(storage, "a/b.mp4") as path:
        assert path.read_bytes() == b"frames"
        assert path.name == "b.mp4"
    assert not path.exists()


def test_traffic_is_counted(storage: S3Storage, fault_proxy: FaultProxy) -> None:
    fault_proxy.add("refuse", status=503, times=2)
    fault_proxy.add("refuse", status=409)
    assert storage.create("x", b"12345")
    assert not storage.create("x", b"12345")
    assert storage.counters.snapshot() == {
        "409": 1,
        "412": 1,
        "503": 2,
        "retries": 3,
        "bytes_written": 5,
    }


@pytest.mark.parametrize(
    "uri",
    ["s3://", "s3:///x", "s3://UPPER/x", "s3://b", "s3://buck et/x", "s3://bucket/../x"],
)
def test_addresses_of_nothing_are_refused(uri: str) -> None:
    with pytest.raises(StorageError, match=r"got .* expected .* Fix: "):
        S3Storage(uri)


@pytest.mark.parametrize(
    "uri", ["s3://key:planted@bucket/x", "s3://bucket/x?X-Amz-Signature=planted", "s3://b#planted"]
)
def test_addresses_with_secrets_are_refused_without_repeating_them(uri: str) -> None:
    with pytest.raises(StorageError, match="Fix: ") as caught:
        S3Storage(uri)
    assert "planted" not in str(caught.value)


def test_clean_temporary_aborts_old_uploads_and_probes(
    storage: S3Storage, s3_env: S3Server
) -> None:
    client, folder = s3_env.client(), storage.uri.rpartition("/")[2]
    client.put_object(Bucket=s3_env.bucket, Key=f"{folder}/.probe-12", Body=b"")
    storage.create("stays", b"x")
    assert storage.clean_temporary(older_than_s=3600) == 0
    for name in (f"{folder}/big.mp4", f"{folder}-other/big.mp4"):
        client.create_multipart_upload(Bucket=s3_env.bucket, Key=name)
    assert storage.clean_temporary(older_than_s=-5) == 2
    left = client.list_multipart_uploads(Bucket=s3_env.bucket).get("Uploads", ())
    assert [u["Key"] for u in left if folder in u["Key"]] == [f"{folder}-other/big.mp4"]
    found = client.list_objects_v2(Bucket=s3_env.bucket, Prefix=folder)["Contents"]
    assert [entry["Key"] for entry in found] == [f"{folder}/stays"]


def test_nothing_to_tidy_with_is_no_failure(storage: S3Storage, fault_proxy: FaultProxy) -> None:
    fault_proxy.add("refuse", status=403, path="uploads")
    assert storage.clean_temporary() == 0


def test_the_environment_of_tests_is_not_the_machines(s3_env: S3Server) -> None:
    assert os.environ["AWS_ENDPOINT_URL"] == s3_env.endpoint
