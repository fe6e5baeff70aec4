"""Models in an object store are fetched once per machine, checked, and never half there."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from tests.s3.proxy import FaultProxy
from tests.s3.server import S3Server
from videogen.errors import ConfigError, StorageError, WeightsError
from videogen.loading import load_generator
from videogen.models.spec import read_spec
from videogen.storage import open_storage
from videogen.storage.s3 import S3Storage
from videogen_pipelines.job import LoadedModel
from videogen_pipelines.model_cache import local_model, read_model_spec

WEIGHTS = r"\.safetensors"
FETCH = """
import sys
from videogen_pipelines.model_cache import local_model
sys.stdin.readline()
print(local_model(sys.argv[1]))
"""


def stopping_at(number: int):
    """`S3Storage.download`, which ends halfway through file `number`, counted from 0."""
    download, begun = S3Storage.download, itertools.count()

    def stopping(storage: S3Storage, key: str, path: Path) -> None:
        if next(begun) == number:
            path.write_bytes(b"half")
            raise KeyboardInterrupt
        download(storage, key, path)

    return stopping


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIDEOGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model(cache: Path, tiny_model: Path, s3_env: S3Server, fault_proxy: FaultProxy) -> str:
    """The address of the tiny model; all requests pass the proxy."""
    uri = s3_env.uri()
    for path in tiny_model.iterdir():
        open_storage(uri).put(path.name, path)
    return uri


def folders(cache: Path) -> list[Path]:
    return [path for path in (cache / "models").iterdir() if path.is_dir()]


def test_the_model_is_the_same_from_afar(model: str, tiny_model: Path) -> None:
    folder = local_model(model)
    assert folder != model
    assert read_spec(Path(folder)) == read_spec(tiny_model)
    assert load_generator(folder, "cpu").spec.digest == read_spec(tiny_model).digest


def test_it_is_fetched_once(model: str, fault_proxy: FaultProxy, cache: Path) -> None:
    first = local_model(model)
    num_weights = fault_proxy.count("GET", WEIGHTS)
    assert num_weights == len(list(Path(first).glob("*.safetensors"))) > 0
    assert local_model(model) == first
    assert fault_proxy.count("GET", WEIGHTS) == num_weights
    assert folders(cache) == [first]


def test_of_two_processes_at_once_one_fetches(
    model: str, fault_proxy: FaultProxy, cache: Path
) -> None:
    fault_proxy.add("pass", method="GET", path=WEIGHTS, times=9, delay_s=0.2)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FETCH, model],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    answers = {process.communicate(timeout=60)[0].strip() for process in processes}
    [folder] = folders(cache)
    assert answers == {str(folder)}
    assert fault_proxy.count("GET", WEIGHTS) == len(list(folder.glob("*.safetensors")))


def test_what_the_coordinator_knows_takes_no_weights(
    model: str, tiny_model: Path, fault_proxy: FaultProxy, cache: Path
) -> None:
    loaded = LoadedModel.read(model)
    assert loaded.name == model
    assert loaded.spec == read_spec(tiny_model)
    assert fault_proxy.count("GET", WEIGHTS) == 0
    assert not cache.exists()


def test_altered_weights_are_refused_and_not_kept(
    model: str, tiny_model: Path, cache: Path
) -> None:
    name = next(tiny_model.glob("*.safetensors")).name
    open_storage(model).put(name, b"other weights")
    with pytest.raises(WeightsError, match=rf"{model}/{name}: got sha256 .* expected .* Fix: "):
        local_model(model)
    assert folders(cache) == []
    open_storage(model).put(name, tiny_model / name)
    assert Path(local_model(model)).is_dir()


def test_missing_weights_are_named(model: str, tiny_model: Path, cache: Path) -> None:
    name = next(tiny_model.glob("*.safetensors")).name
    open_storage(model).delete(name)
    with pytest.raises(WeightsError, match=rf"{model}/{name}: missing"):
        local_model(model)
    assert folders(cache) == []


def test_a_broken_download_goes_on(model: str, fault_proxy: FaultProxy) -> None:
    fault_proxy.add("truncate_reply", method="GET", path=WEIGHTS, times=2)
    assert load_generator(local_model(model), "cpu")


def test_what_a_killed_process_left_is_replaced(model: str, cache: Path) -> None:
    folder = Path(local_model(model))
    part = folder.with_name(f"{folder.name}.part")
    folder.rename(part)
    assert local_model(model) == folder
    assert not part.exists()


def test_a_fetch_that_is_cut_off_goes_on_with_the_files_that_are_missing(
    model: str, fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(S3Storage, "download", stopping_at(1))
        local_model(model)
    assert fault_proxy.count("GET", WEIGHTS) == 1
    folder = Path(local_model(model))
    assert load_generator(folder, "cpu")
    assert fault_proxy.count("GET", WEIGHTS) == len(list(folder.glob("*.safetensors")))
    assert not list(folder.glob("*.part"))


def test_a_file_that_was_left_damaged_is_fetched_again(model: str, cache: Path) -> None:
    folder = Path(local_model(model))
    digest = load_generator(folder, "cpu").spec.digest
    part = folder.with_name(f"{folder.name}.part")
    folder.rename(part)
    damaged = next(part.glob("*.safetensors"))
    expected = damaged.read_bytes()
    damaged.write_bytes(bytes(len(expected)))
    (part / f"{damaged.name}.part").write_bytes(b"half")
    folder = Path(local_model(model))
    assert (folder / damaged.name).read_bytes() == expected
    assert load_generator(folder, "cpu").spec.digest == digest
    assert folders(cache) == [folder]
    assert not list(folder.glob("*.part"))


def test_a_folder_that_lost_a_file_is_fetched_again(model: str) -> None:
    folder = Path(local_model(model))
    lost = next(folder.glob("*.safetensors"))
    lost.unlink()
    assert local_model(model) == folder
    assert lost.is_file()


def test_another_version_is_another_folder(model: str, cache: Path) -> None:
    first = local_model(model)
    storage = open_storage(model)
    text = storage.read("model.yaml").decode()
    storage.put("model.yaml", text.replace("name: tiny", "name: tiny2").encode())
    assert local_model(model) != first
    assert len(folders(cache)) == 2


def test_no_model_there(cache: Path, s3_env: S3Server) -> None:
    for call in (local_model, read_model_spec, LoadedModel.read):
        with pytest.raises(WeightsError, match=r"model: got 's3://.* model\.yaml .* Fix: "):
            call(s3_env.uri())


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[1]", b"", b"schema: 1\nnmae: x"])
def test_a_description_that_is_none(cache: Path, s3_env: S3Server, content: bytes) -> None:
    uri = s3_env.uri()
    open_storage(uri).put("model.yaml", content)
    with pytest.raises(ConfigError, match=rf"{uri}/model\.yaml"):
        local_model(uri)


def test_an_adapted_model_is_refused(cache: Path, s3_env: S3Server) -> None:
    uri = s3_env.uri()
    open_storage(uri).put("model.yaml", b"name: quick\nbase: default\n")
    with pytest.raises(ConfigError, match=r"base: got 'default', expected a whole model"):
        read_model_spec(uri)


def test_weights_outside_the_folder_are_refused(model: str) -> None:
    storage = open_storage(model)
    text = storage.read("model.yaml").decode()
    storage.put("model.yaml", text.replace("vae.safetensors:", "../vae.safetensors:").encode())
    with pytest.raises(WeightsError, match="without a folder"):
        local_model(model)


def test_a_cache_that_cannot_be_written(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("VIDEOGEN_CACHE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="Fix: "):
        local_model(model)


def test_names_and_folders_stay_what_they_are(tiny_model: Path) -> None:
    assert local_model("default") == "default"
    assert local_model(str(tiny_model)) == str(tiny_model)
    assert read_model_spec(str(tiny_model)).name == "tiny"
