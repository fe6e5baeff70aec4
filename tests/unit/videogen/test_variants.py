"""One folder as different runs want it: adapters, step caching, precision, what is kept where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import videogen
from tests.tiny_published import WAN_SIZE, latte_pipeline, wan_pipeline
from videogen.errors import ConfigError, WeightsError
from videogen.models.text_cache import CachedText
from videogen.models.variant import Lora, Residence, StepCache, Variant
from videogen.parallel.apply import parallelize_generator
from videogen.parallel.mesh import Mesh

pytest.importorskip("diffusers")
WAN = {"num_frames": 5, "height": 32, "width": 48, "num_inference_steps": 4, "seed": 1}
WIDTH = WAN_SIZE["num_attention_heads"] * WAN_SIZE["attention_head_dim"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny-wan"
    wan_pipeline(path)
    return path


@pytest.fixture(scope="module")
def plain(folder: Path) -> np.ndarray:
    return videogen.load(folder, device="cpu").denoise(resolved(folder)).numpy()


def resolved(folder: Path):
    return videogen.load(folder, device="cpu").resolve(prompt="a red circle", **WAN)


def made(folder: Path, **options) -> tuple[np.ndarray, str]:
    generator = videogen.load(folder, device="cpu", **options)
    return generator.denoise(resolved(folder)).numpy(), generator.digest


def test_an_adapter_changes_clips_and_the_digest(folder, plain, tmp_path):
    torch.manual_seed(0)
    key, path = "transformer.blocks.0.attn1.to_v", tmp_path / "a.safetensors"
    down, up = torch.randn(2, WIDTH), torch.randn(WIDTH, 2)
    save_file({f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}, path)
    found, digest = made(folder, variant=Variant((Lora(path),)))
    none, other = made(folder, variant=Variant((Lora(path, 0.0),)))
    assert np.abs(found - plain).max() > 0.01
    assert np.array_equal(none, plain)
    assert len({digest, other, videogen.load(folder, device="cpu").digest}) == 3
    save_file({"transformer.blocks.7.attn1.to_v.lora_A.weight": down}, path)
    with pytest.raises(WeightsError, match=r"blocks\.7"):
        made(folder, variant=Variant((Lora(path),)))


def test_step_caching_leaves_out_work_and_half_of_it_nothing(folder, plain):
    for threshold, is_close in ((0.0, True), (1e9, False)):
        cache = StepCache("first_block", threshold=threshold, start=0.0)
        found, digest = made(folder, variant=Variant(cache=cache))
        assert bool(np.abs(found - plain).max() < 1e-4) is is_close
        assert digest != videogen.load(folder, device="cpu").digest


def test_a_folder_of_embeddings_and_parts_that_visit_change_nothing(folder, plain, tmp_path):
    residence = Residence(("text", "vae"), tmp_path / "texts")
    generator = videogen.load(folder, device="cpu", residence=residence)
    assert np.array_equal(generator.denoise(resolved(folder)).numpy(), plain)
    files = list((tmp_path / "texts").rglob("*.safetensors"))
    assert len(files) == 2, "the prompt and the negative one"
    assert isinstance(generator.model.text, CachedText)
    again = videogen.load(folder, device="cpu", residence=residence)
    again.model.text.encoder.encode = None  # pyright: ignore[reportAttributeAccessIssue]
    assert np.array_equal(again.denoise(resolved(folder)).numpy(), plain)
    whole = videogen.load(folder, device="cpu")
    latents = torch.from_numpy(plain)
    frames = [np.concatenate(list(one.decode(latents))) for one in (whole, generator)]
    assert np.array_equal(*frames)


@pytest.mark.parametrize("kind", ["wan", "latte"])
def test_parts_in_other_precisions(folder, kind, tmp_path):
    if kind == "latte":
        folder = tmp_path / "tiny-latte"
        latte_pipeline(folder)
    variant = Variant(text_dtype="bfloat16", vae_dtype="bfloat16")
    generator = videogen.load(folder, device="cpu", variant=variant)
    whole = videogen.load(folder, device="cpu")
    vae: Any = generator.model.vae
    assert {p.dtype for p in vae.parameters()} == {torch.bfloat16}
    request = generator.resolve(prompt="a red circle", **WAN)
    frames = [np.concatenate(list(one.generate(request).frames())) for one in (generator, whole)]
    difference = np.abs(frames[0].astype(int) - frames[1])
    assert 0 < difference.mean() < 8


def test_what_a_model_has_no_use_for():
    with pytest.raises(ConfigError, match="text_dtype"):
        videogen.load("default", device="cpu", variant=Variant(text_dtype="bfloat16"))
    cache = StepCache("first_block")
    with pytest.raises(ConfigError, match="cuda_graphs"):
        videogen.load(
            "default",
            device="cpu",
            variant=Variant(cache=cache),
            residence=Residence(compile="cuda_graphs"),
        )
    with pytest.raises(ConfigError, match=r"model\.loras"):
        videogen.load("diffusers:/x", device="cpu", variant=Variant((Lora(Path("a")),)))


def test_left_out_blocks_and_divided_weights_exclude_each_other():
    variant = Variant(cache=StepCache("first_block"))
    generator = videogen.load("default", device="cpu", variant=variant)
    with pytest.raises(ConfigError, match=r"model\.cache.*offloaded"):
        parallelize_generator(generator, Mesh(1, 1), weights="offloaded")
