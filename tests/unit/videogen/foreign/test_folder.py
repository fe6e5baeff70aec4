"""Folders of pipelines: what is read of them, and what is refused before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from videogen.errors import ConfigError, WeightsError
from videogen.foreign.folder import read_folder

WEIGHTS = "diffusion_pytorch_model.safetensors"


def make(root: Path, **index: Any) -> Path:
    """A folder of a pipeline with a UNet and, unless said otherwise, no safety checker."""
    parts = {"unet": ["diffusers", "UNet2DConditionModel"], "safety_checker": [None, None]}
    (root / "unet").mkdir(parents=True)
    save(root / "unet" / WEIGHTS)
    (root / "unet/config.json").write_text('{"sample_size": 8}')
    said = {"_class_name": "SomePipeline", "_diffusers_version": "0", **parts, **index}
    (root / "model_index.json").write_text(json.dumps(said))
    return root


def save(path: Path, value: float = 0.0) -> None:
    save_file({"weight": np.full((2,), value, np.float32)}, path)


def test_parts_are_found_and_absent_ones_named(tmp_path: Path):
    found = read_folder(make(tmp_path / "a", requires_safety_checker=False))
    assert found.pipeline == "SomePipeline"
    assert list(found.components) == ["unet"]
    assert found.components["unet"].config == {"sample_size": 8}
    assert found.absent == ("safety_checker",)
    assert found.variant is None


def test_the_digests_follow_every_file_that_may_be_read(tmp_path: Path):
    root = make(tmp_path / "a")
    before = read_folder(root).digests()
    assert set(before) == {"model_index.json", f"unet/{WEIGHTS}", "unet/config.json"}
    (root / "README.md").write_text("words")
    (root / "unet/old.bin").write_bytes(b"pickle")
    assert read_folder(root).digests() == before
    save(root / "unet" / WEIGHTS, value=1.0)
    after = read_folder(root).digests()
    assert {name for name in after if after[name] != before[name]} == {f"unet/{WEIGHTS}"}
    (root / "unet/vocab.bpe").write_text("merges")
    assert "unet/vocab.bpe" in read_folder(root).digests()


def test_weights_of_a_variant_alone_are_found(tmp_path: Path):
    root = make(tmp_path / "a")
    (root / "unet" / WEIGHTS).rename(root / "unet/diffusion_pytorch_model.fp16.safetensors")
    found = read_folder(root)
    assert found.variant == "fp16"
    assert [path.name for path in found.weight_files()] == [
        "diffusion_pytorch_model.fp16.safetensors"
    ]
    save(root / "unet" / WEIGHTS)
    assert read_folder(root).variant is None
    assert [path.name for path in read_folder(root).weight_files()] == [WEIGHTS]


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "model.pt", "weights.ckpt"])
def test_pickles_alone_are_refused(tmp_path: Path, name: str):
    root = make(tmp_path / "a")
    (root / "unet" / WEIGHTS).unlink()
    (root / "unet" / name).write_bytes(b"\x80\x04")
    with pytest.raises(WeightsError, match=f"{name}.*expected safetensors.*pickle"):
        read_folder(root)


def test_code_in_a_folder_is_never_run(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"_class_name.*never run"):
        read_folder(make(tmp_path / "a", _class_name=["pipeline", "MyPipeline"]))
    root = make(tmp_path / "b", unet=["my_unet", "MyUNet"])
    (root / "unet/my_unet.py").write_text("raise SystemExit")
    with pytest.raises(ConfigError, match=r"unet: got .*my_unet.*never run"):
        read_folder(root)
    with pytest.raises(ConfigError, match="name of a folder"):
        read_folder(make(tmp_path / "c", **{"../unet": ["diffusers", "UNet2DConditionModel"]}))


def test_missing_and_truncated_files_are_named(tmp_path: Path):
    root = make(tmp_path / "a", vae=["diffusers", "AutoencoderKL"])
    with pytest.raises(WeightsError, match=r"vae: missing"):
        read_folder(root)
    root = make(tmp_path / "b")
    weights = root / "unet" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-3])
    with pytest.raises(WeightsError, match=f"{WEIGHTS}: cannot be read as safetensors"):
        read_folder(root)
    root = make(tmp_path / "c")
    shards = {"weight_map": {"a": WEIGHTS, "b": "diffusion_pytorch_model-2.safetensors"}}
    (root / f"unet/{WEIGHTS}.index.json").write_text(json.dumps(shards))
    with pytest.raises(WeightsError, match=r"diffusion_pytorch_model-2\.safetensors: missing"):
        read_folder(root)
