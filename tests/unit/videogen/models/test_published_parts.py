"""Folders of published models are checked from headers alone; what is wrong is one clear error."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tiny_published import latte_pipeline, wan_pipeline
from videogen.errors import ConfigError, VideogenError, WeightsError
from videogen.loading import load_generator
from videogen.models.published import KnownSpec, read_published_spec
from videogen.models.published_parts import check_published, count_published

transformers = pytest.importorskip("transformers")
pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("published")
    wan_pipeline(root / "wan", image=True, shard="20KB")
    wan_pipeline(root / "wan22", experts=True)
    latte_pipeline(root / "latte")
    return root


@pytest.fixture
def wan(written: Path, tmp_path: Path) -> Path:
    """A private copy, to damage at will."""
    return Path(shutil.copytree(written / "wan", tmp_path / "wan"))


@pytest.mark.parametrize("name,decoder", [("wan", None), ("wan22", None), ("latte", None)])
def test_a_whole_folder_is_checked_and_counted(
    written: Path, name: str, decoder: str | None
) -> None:
    spec = read_published_spec(written / name, decoder)
    check_published(spec)
    model: Any = load_generator(written / name, "cpu").model
    counts = count_published(spec)
    assert counts.dit == count(model.dit)
    assert counts.vae == count(model.vae)
    encoder = model.text
    while hasattr(encoder, "encoder"):  # one that keeps embeddings, one that cuts them
        encoder = encoder.encoder
    assert counts.text == count(encoder.model)
    assert counts.image == (count(model.image.model) if name == "wan" else 0)


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_temporal_decoder_of_latte_is_another_model(written: Path) -> None:
    folder = written / "latte"
    first: Any = read_published_spec(folder)
    other: Any = read_published_spec(folder, "vae_temporal_decoder")
    check_published(other)
    assert other.vae.across_frames and not first.vae.across_frames
    assert first.digest != other.digest
    with pytest.raises(ConfigError, match=r"model\.decoder: got 'vae_temporal'.*Did you mean"):
        read_published_spec(folder, "vae_temporal")
    with pytest.raises(ConfigError, match=r"model\.decoder: got 'vae'.*has one VAE"):
        read_published_spec(written / "wan", "vae")


def edit_config(part: str, **fields: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / part / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return edit


def edit_weights(
    part: str, edit: Callable[[dict[str, torch.Tensor]], object]
) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = sorted((folder / part).glob("*.safetensors"))[0]
        weights = load_file(path)
        edit(weights)
        save_file(weights, path)

    return change


def remove_shard(part: str) -> Callable[[Path], None]:
    return lambda folder: sorted((folder / part).glob("*-00002-of-*.safetensors"))[0].unlink()


def truncate(part: str) -> Callable[[Path], None]:
    def cut(folder: Path) -> None:
        path = sorted((folder / part).glob("*.safetensors"))[0]
        path.write_bytes(path.read_bytes()[:-8])

    return cut


def pickle_only(part: str) -> Callable[[Path], None]:
    def replace(folder: Path) -> None:
        for path in (folder / part).glob("*.safetensors*"):
            path.unlink()
        torch.save({}, folder / part / "pytorch_model.bin")

    return replace


WEIGHTY = ("transformer", "vae", "text_encoder", "image_encoder")
DAMAGES: list[tuple[Callable[[Path], None], str]] = [
    *((truncate(part), rf"{part}/.*safetensors.*cannot be read") for part in WEIGHTY),
    *((pickle_only(part), rf"{part}.*got pytorch_model\.bin") for part in WEIGHTY),
    *(
        (
            edit_weights(part, lambda w: w.update(stray=torch.ones(1))),
            rf"{part}.*unexpected \(stray",
        )
        for part in WEIGHTY
    ),
    *((edit_weights(part, lambda w: w.popitem()), rf"{part}.*1 missing") for part in WEIGHTY),
    *((remove_shard(part), rf"{part}/.*-00002-of-.*missing") for part in WEIGHTY[:3]),
    (edit_config("transformer", ffn_dim=51), r"transformer: .*other shape"),
    (edit_config("transformer", ffn_dims=50), r"ffn_dims.*Did you mean 'ffn_dim'"),
    (edit_config("transformer", qk_norm="layer_norm"), r"qk_norm"),
    (edit_config("vae", z_dim=5), r"latents_mean: got 4"),
    (edit_config("text_encoder", d_ff=25), r"text_encoder.*other shape"),
    (edit_config("text_encoder", num_heads="2"), r"num_heads: got '2'"),
    (edit_config("text_encoder", model_type="t5"), r"model_type: got 't5', expected 'umt5'"),
    (edit_config("image_encoder", num_hidden_layers=2), r"image_encoder.*unexpected"),
    (lambda folder: shutil.rmtree(folder / "tokenizer"), r"got no tokenizer"),
    (lambda folder: (folder / "scheduler" / "scheduler_config.json").unlink(), r"scheduler_config"),
    (lambda folder: (folder / "image_processor" / "preprocessor_config.json").unlink(), r"preproc"),
]


@pytest.mark.parametrize("damage,message", DAMAGES)
def test_a_damaged_folder_is_one_clear_error_before_anything_is_loaded(
    wan: Path, damage: Callable[[Path], None], message: str
) -> None:
    def read(folder: Path) -> KnownSpec:
        spec = read_published_spec(folder)
        check_published(spec)
        return spec

    read(wan)
    damage(wan)
    with pytest.raises(VideogenError, match=message) as error:
        read(wan)
    assert isinstance(error.value, WeightsError | ConfigError)
    assert "expected" in str(error.value) or "Fix:" in str(error.value)
