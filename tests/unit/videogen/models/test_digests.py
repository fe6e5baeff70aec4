from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from videogen.models import digests
from videogen.models.digests import cache_folder, file_digests


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIDEOGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "REMEMBERED_BYTES", 4)
    root = tmp_path / "model"
    for name, content in {
        "model_index.json": "{}",
        "text_encoder/model.safetensors": "weights",
        "README.md": "not part of the model",
        ".cache/huggingface/x.json": "nor is this",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_every_file_of_a_model_counts(folder: Path) -> None:
    weights = "text_encoder/model.safetensors"
    assert file_digests(folder) == {"model_index.json": sha256("{}"), weights: sha256("weights")}


def test_large_files_are_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = file_digests(folder)
    read: list[str] = []
    monkeypatch.setattr(digests, "file_sha256", lambda path: read.append(path.name) or sha256("{}"))
    assert file_digests(folder) == first
    assert read == ["model_index.json"]


def test_a_changed_file_is_read_again(folder: Path) -> None:
    weights = folder / "text_encoder" / "model.safetensors"
    before, state = file_digests(folder), weights.stat()
    weights.write_text("changed")
    os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    after = file_digests(folder)
    assert before != after and after["text_encoder/model.safetensors"] == sha256("changed")


@pytest.mark.parametrize("damage", ["", "[]", '{"text_encoder/model.safetensors": 1}'])
def test_a_damaged_memory_is_forgotten(folder: Path, damage: str) -> None:
    first = file_digests(folder)
    (memory,) = (cache_folder() / "digests").glob("*.json")
    memory.write_text(damage)
    assert file_digests(folder) == first


def test_without_a_place_to_remember_files_are_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("VIDEOGEN_CACHE", str(blocked))
    assert len(file_digests(folder)) == 2
