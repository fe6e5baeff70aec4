"""The weights are compared with the sha256 of their description."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.s3.server import S3Server
from videogen.errors import WeightsError
from videogen.storage import open_storage
from videogen_pipelines.doctor.model import check_model


def test_a_whole_model_is_ok(tiny_model: Path):
    finding = check_model(str(tiny_model))
    assert finding.status == "ok"
    assert "tiny" in finding.found and "3 files" in finding.found


def test_one_changed_byte_is_found(tiny_model: Path, tmp_path: Path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    weights = folder / "vae.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(WeightsError, match=r"vae\.safetensors.*sha256"):
        check_model(str(folder))


def test_a_missing_model_is_an_error_with_a_remedy():
    with pytest.raises(WeightsError, match="Fix:"):
        check_model("no-such-model")


def test_a_model_in_an_object_store_is_looked_for_and_not_fetched(
    tiny_model: Path, s3_env: S3Server, tmp_path: Path, monkeypatch
):
    monkeypatch.setenv("VIDEOGEN_CACHE", str(tmp_path / "cache"))
    name = s3_env.uri()
    storage = open_storage(name)
    for file in tiny_model.iterdir():
        storage.create(file.name, file)
    assert "tiny, 3 files" in check_model(name).found
    assert not (tmp_path / "cache").exists()
    storage.delete("vae.safetensors")
    finding = check_model(name)
    assert finding.status == "failed" and "vae.safetensors" in finding.found
