"""A component folder is read whole or refused, in words, before anything is placed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from videogen.errors import WeightsError
from videogen.models.folders import WEIGHTS, check_weights, load_component, weight_files
from videogen.models.meta import on_meta


class Part(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm1 = nn.Linear(3, 2), nn.LayerNorm(2)


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {name: torch.randn_like(value) for name, value in Part().state_dict().items()}


def empty() -> Part:
    with on_meta():
        return Part()


def write_shards(folder: Path, tensors: dict[str, Tensor]) -> Path:
    """One file per tensor, and their index."""
    names = {key: f"{WEIGHTS}-{i}.safetensors" for i, key in enumerate(tensors)}
    for key, name in names.items():
        save_file({key: tensors[key]}, folder / name)
    index = folder / f"{WEIGHTS}.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": names}))
    return index


def write_whole(folder: Path, tensors: dict[str, Tensor]) -> Path:
    path = folder / f"{WEIGHTS}.safetensors"
    save_file(tensors, path)
    return path


@pytest.mark.parametrize("write", [write_whole, write_shards])
def test_weights_come_back(tmp_path, tensors, write):
    write(tmp_path, tensors)
    part = empty()
    load_component(part, tmp_path)
    for name, value in part.state_dict().items():
        assert torch.equal(value, tensors[name])
    assert not part.training
    assert not any(parameter.requires_grad for parameter in part.parameters())


def test_some_parts_stay_in_float32(tmp_path, tensors):
    write_whole(tmp_path, tensors)
    part = empty()
    load_component(part, tmp_path, dtype=torch.bfloat16, float32_parts=("norm1",))
    dtypes = {name: value.dtype for name, value in part.state_dict().items()}
    assert dtypes["linear.weight"] == torch.bfloat16
    assert dtypes["norm1.weight"] == dtypes["norm1.bias"] == torch.float32


def test_keys_are_renamed_and_left_out(tmp_path, tensors):
    renamed = {key.replace("linear", "old"): value for key, value in tensors.items()}
    write_whole(tmp_path, renamed | {"blocks.0.unused.weight": torch.zeros(3)})
    part = empty()
    load_component(
        part,
        tmp_path,
        ignored=("unused.weight",),
        rename=lambda key: key.replace("old", "linear"),
    )
    assert torch.equal(part.linear.weight, tensors["linear.weight"])


def test_a_missing_shard_is_named(tmp_path, tensors):
    write_shards(tmp_path, tensors)
    (tmp_path / f"{WEIGHTS}-1.safetensors").unlink()
    with pytest.raises(WeightsError, match=rf"{WEIGHTS}-1.safetensors: missing. Fix: download"):
        weight_files(tmp_path)


@pytest.mark.parametrize("name", ["../away.safetensors", "weights.bin", "/etc/x.safetensors"])
def test_an_index_leads_nowhere_else(tmp_path, tensors, name):
    index = write_shards(tmp_path, tensors)
    index.write_text(json.dumps({"weight_map": {"linear.weight": name}}))
    with pytest.raises(WeightsError, match=r"expected \*.safetensors beside it"):
        weight_files(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"weight_map": {}}', '{"weight_map": 3}'])
def test_a_broken_index_is_an_error(tmp_path, tensors, content):
    write_shards(tmp_path, tensors).write_text(content)
    with pytest.raises(WeightsError, match=r"index.json"):
        weight_files(tmp_path)


def test_pickles_are_refused_by_name(tmp_path):
    (tmp_path / f"{WEIGHTS}.bin").write_bytes(b"x")
    with pytest.raises(WeightsError, match=f"got {WEIGHTS}.bin, expected .*a pickle can run code"):
        weight_files(tmp_path)


@pytest.mark.parametrize("folder", ["", "nowhere"])
def test_no_weights_at_all(tmp_path, folder):
    with pytest.raises(WeightsError, match=r"missing. Fix: copy or download the whole folder"):
        weight_files(tmp_path / folder)


def test_a_truncated_file_is_named_and_nothing_is_placed(tmp_path, tensors):
    write_shards(tmp_path, tensors)
    last = tmp_path / f"{WEIGHTS}-{len(tensors) - 1}.safetensors"
    last.write_bytes(last.read_bytes()[:-4])
    part = empty()
    with pytest.raises(WeightsError, match=f"{last.name}: cannot be read as safetensors"):
        load_component(part, tmp_path)
    assert all(parameter.is_meta for parameter in part.parameters())


def test_what_does_not_fit_is_listed_and_nothing_is_placed(tmp_path, tensors):
    tensors["linear.weight"] = torch.zeros(2, 4)
    tensors["linear.extra"] = tensors.pop("norm1.bias")
    write_whole(tmp_path, tensors)
    part = empty()
    with pytest.raises(WeightsError) as error:
        load_component(part, tmp_path)
    for expected in (
        "1 missing (norm1.bias)",
        "1 unexpected (linear.extra)",
        "1 other shape (linear.weight (2, 4) instead of (2, 3))",
    ):
        assert expected in str(error.value)
    assert all(parameter.is_meta for parameter in part.parameters())


def test_a_key_in_two_shards_is_an_error(tmp_path, tensors):
    save_file(tensors, tmp_path / "a.safetensors")
    save_file(tensors, tmp_path / "b.safetensors")
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    with pytest.raises(WeightsError, match=r"b.safetensors: got '.*' a second time"):
        check_weights(empty(), tmp_path, files)
