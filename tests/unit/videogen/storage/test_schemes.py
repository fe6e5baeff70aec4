from __future__ import annotations

from pathlib import Path

import pytest

from videogen.errors import StorageError
from videogen.storage import LocalStorage, open_storage
from videogen.storage.s3 import S3Storage


def root_of(uri: str | Path) -> Path:
    storage = open_storage(uri)
    assert isinstance(storage, LocalStorage)
    return storage.root


def test_folders_by_every_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert root_of("out") == tmp_path / "out"
    assert root_of(tmp_path / "out") == tmp_path / "out"
    assert root_of("~/out") == tmp_path / "home" / "out"
    assert root_of("file:///data/my%20clips") == Path("/data/my clips")
    assert root_of("file://localhost/data") == Path("/data")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("uri", ["gs://bucket/out", "http://x/y"])
def test_other_schemes_are_refused_with_the_supported_ones(uri: str) -> None:
    with pytest.raises(StorageError, match=r"expected a folder, file://, s3://\. Fix: ") as caught:
        open_storage(uri)
    assert uri in str(caught.value)


def test_an_object_store_is_opened_without_asking_it() -> None:
    assert isinstance(open_storage("s3://bucket/out"), S3Storage)
    assert open_storage("S3://bucket").uri == "s3://bucket"


def test_credentials_in_an_address_are_not_repeated() -> None:
    for uri in ("gs://key:planted@bucket/out?sig=planted", "s3://key:planted@bucket/out"):
        with pytest.raises(StorageError, match="Fix: ") as caught:
            open_storage(uri)
        assert "planted" not in str(caught.value)


@pytest.mark.parametrize("uri", ["", "a\x00b", "file://", "file://host/data", "file:///a%00b"])
def test_addresses_of_nothing_are_refused(uri: str) -> None:
    with pytest.raises(StorageError, match="Fix: "):
        open_storage(uri)


def test_a_stored_address_opens_the_same_storage(tmp_path: Path) -> None:
    open_storage(tmp_path).create("x", b"x")
    assert open_storage(open_storage(tmp_path).uri).read("x") == b"x"
