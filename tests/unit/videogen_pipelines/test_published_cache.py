"""Published models in an object store: fetched whole, once, and never half there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.s3.proxy import FaultProxy
from tests.s3.server import S3Server
from videogen.errors import ConfigError, StorageError
from videogen.loading import load_generator
from videogen.models.published import read_published_spec
from videogen.storage import open_storage
from videogen.storage.s3 import S3Storage
from videogen_pipelines.doctor.model import check_model
from videogen_pipelines.job import LoadedModel
from videogen_pipelines.model_cache import local_model, read_model_spec
from videogen_pipelines.model_summary import find_model
from videogen_pipelines.published_cache import published_folder

FILES = {
    "model_index.json": b"{}",
    "transformer/config.json": b"{}",
    "transformer/diffusion_pytorch_model-00001-of-00001.safetensors": b"weights",
    "tokenizer/spiece.model": b"words",
}
OTHERS = {"README.md": b"#", "unet/old.bin": b"pickle", ".cache/huggingface/a.json": b"{}"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIDEOGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model(cache: Path, s3_env: S3Server, fault_proxy: FaultProxy) -> str:
    """The address of files in the layout; all requests pass the proxy."""
    uri = s3_env.uri() + "/Some-Model"
    client, _, prefix = s3_env.client(), *uri.removeprefix("s3://").split("/", 1)
    for key, data in (FILES | OTHERS).items():
        client.put_object(Bucket=s3_env.bucket, Key=f"{prefix}/{key}", Body=data)
    return uri


def folders(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "models").iterdir() if path.is_dir())


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_it_is_fetched_once_and_whole(model: str, fault_proxy: FaultProxy, cache: Path) -> None:
    folder = published_folder(model)
    assert folder.name == "Some-Model"
    assert contents(folder) == FILES
    assert fault_proxy.count("GET", r"spiece\.model") == 1
    assert published_folder(model) == local_model(f"{model}/") == folder
    assert fault_proxy.count("GET", r"spiece\.model") == 1
    assert folders(cache) == [folder.parent]


def test_a_broken_download_goes_on(model: str, fault_proxy: FaultProxy) -> None:
    fault_proxy.add("truncate_reply", method="GET", path=r"\.safetensors", times=2)
    assert contents(published_folder(model)) == FILES


def cut_off(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetch all files but the tokenizer's, half of which is written."""
    download = S3Storage.download

    def stopping(storage: S3Storage, key: str, path: Path) -> None:
        if key.startswith("tokenizer/"):
            path.write_bytes(b"half")
            raise KeyboardInterrupt
        download(storage, key, path)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(S3Storage, "download", stopping)
        published_folder(model)


def test_a_fetch_that_is_cut_off_goes_on_with_the_files_that_are_missing(
    model: str, fault_proxy: FaultProxy, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(model, monkeypatch)
    folder = published_folder(model)
    assert contents(folder) == FILES
    assert folders(cache) == [folder.parent]
    assert fault_proxy.count("GET", r"model_index\.json") == 1


def test_what_was_left_of_another_version_is_not_taken(
    model: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(model, monkeypatch)
    open_storage(model).put("model_index.json", b"[]")
    assert contents(published_folder(model)) == FILES | {"model_index.json": b"[]"}


@pytest.mark.parametrize("change", ["replaced", "removed"])
def test_files_that_change_meanwhile_are_not_kept(
    model: str, cache: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    download = S3Storage.download

    def and_change(storage: S3Storage, key: str, path: Path) -> None:
        monkeypatch.setattr(S3Storage, "download", download)
        storage.download(key, path)
        if change == "replaced":
            storage.put("tokenizer/spiece.model", b"sdrow")
        else:
            storage.delete("tokenizer/spiece.model")

    monkeypatch.setattr(S3Storage, "download", and_change)
    with pytest.raises(StorageError, match=r"got files that were replaced .* Fix: "):
        published_folder(model)
    assert folders(cache) == []


def test_another_version_is_another_folder(model: str, cache: Path) -> None:
    first = published_folder(model)
    open_storage(model).put("tokenizer/spiece.model", b"sdrow")
    second = published_folder(model)
    assert (second / "tokenizer/spiece.model").read_bytes() == b"sdrow"
    assert folders(cache) == sorted([first.parent, second.parent])


def test_the_same_files_under_two_names_are_two_folders(model: str, s3_env: S3Server) -> None:
    other = s3_env.uri() + "/Other"
    for key, data in FILES.items():
        open_storage(other).put(key, data)
    first, second = published_folder(model), published_folder(other)
    assert second.name == "Other"
    assert contents(first) == contents(second) == FILES


def test_a_folder_that_lost_bytes_is_fetched_again(model: str, cache: Path) -> None:
    folder = published_folder(model)
    (folder / "tokenizer/spiece.model").write_bytes(b"w")
    (folder.parent.with_name(f"{folder.parent.name}.part") / "left").mkdir(parents=True)
    assert contents(published_folder(model)) == FILES
    assert folders(cache) == [folder.parent]


@pytest.mark.parametrize("key", ["a/../../b.json", "a//b.json", "/b.json", "a\\b.json"])
def test_a_key_that_is_no_path_is_refused(
    model: str, s3_env: S3Server, cache: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    entries = S3Storage._entries

    def and_another(storage: S3Storage, prefix: str):
        yield from entries(storage, prefix)
        yield {"Key": prefix + key, "Size": 1, "ETag": '"e"'}

    monkeypatch.setattr(S3Storage, "_entries", and_another)
    before = contents(cache) if cache.exists() else {}
    if ".." in key:  # hidden as all parts that start with a dot
        assert contents(published_folder(model)) == FILES
        return
    with pytest.raises(StorageError, match="key: got "):
        published_folder(model)
    assert (contents(cache) if cache.exists() else {}) == before


def test_a_look_fetches_nothing(model: str, fault_proxy: FaultProxy, cache: Path) -> None:
    found = check_model(model).found
    assert "a published model, 4 files" in found
    assert "machines fetch and check it" in found
    assert not cache.exists()


def test_a_model_of_two_kinds_is_one_of_this_package(model: str) -> None:
    open_storage(model).put("model.yaml", b"[1]")
    with pytest.raises(ConfigError, match=r"model\.yaml: got "):
        read_model_spec(model)


def test_a_model_is_the_same_from_afar(cache: Path, s3_env: S3Server, tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    from tests.tiny_published import latte_pipeline

    here, uri = tmp_path / "Latte-tiny", s3_env.uri() + "/Latte-tiny"
    latte_pipeline(here)
    for key in contents(here):
        open_storage(uri).put(key, here / key)
    loaded = LoadedModel.read(uri, "vae_temporal_decoder")
    assert loaded.name == uri
    assert loaded.stamp.name == "Latte-tiny"
    expected = read_published_spec(here, "vae_temporal_decoder").digest
    assert loaded.stamp.digest == expected
    generator = load_generator(local_model(uri), "cpu", decoder="vae_temporal_decoder")
    assert generator.digest == expected
    assert find_model(uri)[0].digest == read_published_spec(here).digest
    with pytest.raises(ConfigError, match="decoder: got 'nothing'"):
        read_model_spec(uri, "nothing")
