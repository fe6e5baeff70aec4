from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from videogen.errors import ConfigError, WeightsError
from videogen.models.descriptions import read_config, read_json
from videogen.models.digests import file_digests


@dataclass(frozen=True, kw_only=True)
class PartConfig:
    width: int
    share: float = 0.5


def config_file(folder: Path, **fields: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({"_class_name": "Part", "_diffusers_version": "1", **fields}))
    return path


def test_a_config_is_read(tmp_path):
    path = config_file(tmp_path, width=3, of_training=True)
    assert read_config(PartConfig, path, "Part", ignored=("of_training",)) == PartConfig(width=3)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"width": "3"}, "width: got '3', expected an integer"),
        ({"width": 3, "hight": 4}, "hight: unknown field"),
        ({}, "width: missing"),
        ({"width": 3, "_class_name": "Whole"}, "got 'Whole', expected Part"),
    ],
)
def test_a_wrong_config_is_named(tmp_path, fields, problem):
    path = config_file(tmp_path, **fields)
    with pytest.raises(ConfigError, match=problem) as error:
        read_config(PartConfig, path, "Part")
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [None, "{", "3"])
def test_an_unreadable_config_is_named(tmp_path, content):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(WeightsError, match=r"config.json"):
        read_json(path)


def test_digests_tell_files_apart(tmp_path):
    config_file(tmp_path, width=3)
    weights = tmp_path / "part" / "weights.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"one")
    (tmp_path / "README.md").write_text("not part of a model")
    before = file_digests(tmp_path)
    assert sorted(before) == ["config.json", "part/weights.safetensors"]
    weights.write_bytes(b"two")
    after = file_digests(tmp_path)
    assert [name for name in before if before[name] != after[name]] == ["part/weights.safetensors"]
