"""What is wrong with the folder of a text encoder must be said before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from videogen.errors import WeightsError
from videogen.models.text_folders import (
    FAMILIES,
    check_config,
    check_safetensors,
    check_tokenizer_files,
    find_folders,
)

T5 = FAMILIES["t5"]


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")


@pytest.mark.parametrize("given", [".", "text_encoder"])
def test_encoder_and_tokenizer_side_by_side(given, tmp_path):
    touch(tmp_path / "text_encoder" / "config.json", tmp_path / "tokenizer" / "tokenizer.json")
    found = find_folders(tmp_path / given)
    assert [folder.resolve() for folder in found] == [
        tmp_path / "text_encoder",
        tmp_path / "tokenizer",
    ]


def test_everything_in_one_folder(tmp_path):
    folder = tmp_path / "t5"
    touch(folder / "config.json", folder / "tokenizer.json")
    assert find_folders(folder) == (folder, folder)


def test_a_hub_name_is_not_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match="nothing is fetched from a hub"):
        find_folders(Path("google/t5-v1_1-small"))


@pytest.mark.parametrize(
    "text,message",
    [
        ('{"model_type": "bert"}', "model_type: got 'bert', expected 't5' for text.kind 't5'"),
        ("{}", "model_type: got 'None', expected 't5'"),
        ("[1]", "not a JSON mapping"),
        ("{", "not a JSON mapping"),
    ],
)
def test_a_config_of_another_model_or_none(text, message, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(WeightsError, match=message):
        check_config(tmp_path, "t5", T5)


def test_a_missing_config_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"config\.json: cannot be read"):
        check_config(tmp_path, "t5", T5)


@pytest.mark.parametrize("kind,model_type", [("clip", "clip"), ("clip", "clip_text_model")])
def test_whole_checkpoints_and_their_text_half_are_accepted(kind, model_type, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    check_config(tmp_path, kind, FAMILIES[kind])


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt"])
def test_pickles_alone_are_refused(name, tmp_path):
    touch(tmp_path / name)
    with pytest.raises(WeightsError, match=rf"got {name}, expected model\.safetensors, because"):
        check_safetensors(tmp_path)
    touch(tmp_path / "model.safetensors")
    check_safetensors(tmp_path)


def test_no_weights_at_all(tmp_path):
    with pytest.raises(WeightsError, match=r"got no model\.safetensors"):
        check_safetensors(tmp_path)


def write_index(folder: Path, *shards: str) -> None:
    index = {"weight_map": {f"weight.{i}": name for i, name in enumerate(shards)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("shard", ["weights.bin", "../model.safetensors", "a/model.safetensors"])
def test_an_index_cannot_lead_to_a_pickle_or_out_of_the_folder(shard, tmp_path):
    touch(tmp_path / "model.safetensors")
    write_index(tmp_path, "model.safetensors", shard)
    with pytest.raises(WeightsError, match=rf"got shard '{shard}', expected \*\.safetensors"):
        check_safetensors(tmp_path)


def test_a_missing_shard_is_named(tmp_path):
    touch(tmp_path / "a.safetensors")
    write_index(tmp_path, "a.safetensors", "b.safetensors")
    with pytest.raises(WeightsError, match=r"b\.safetensors: missing"):
        check_safetensors(tmp_path)
    touch(tmp_path / "b.safetensors")
    check_safetensors(tmp_path)


def test_a_broken_index_is_an_error(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text('{"weights": {}}')
    with pytest.raises(WeightsError, match="not a weight index"):
        check_safetensors(tmp_path)


def test_a_missing_tokenizer_names_the_files_looked_for(tmp_path):
    with pytest.raises(WeightsError, match=r"expected tokenizer\.json or spiece\.model"):
        check_tokenizer_files(tmp_path, T5)
    touch(tmp_path / "spiece.model")
    check_tokenizer_files(tmp_path, T5)
