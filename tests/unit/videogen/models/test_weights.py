"""Model folders: what is written is what is read, and nothing else is."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from videogen.errors import ConfigError, WeightsError
from videogen.models.digests import file_sha256
from videogen.models.spec import ModelSpec, read_spec, resolve_model
from videogen.models.weights import DIT_FILE, load_model, load_vae, save_vae


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def rewrite(folder: Path, file: str, old: str, new: str) -> None:
    path = folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def forge(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Replace the DiT's weights and make the description agree with them."""
    before = file_sha256(folder / DIT_FILE)
    save_file(tensors, folder / DIT_FILE)
    rewrite(folder, "model.yaml", before, file_sha256(folder / DIT_FILE))


def test_weights_come_back_as_written(folder: Path) -> None:
    stored = load_file(folder / DIT_FILE)
    loaded = load_model(folder).dit.state_dict()
    assert stored.keys() == loaded.keys()
    for key, value in stored.items():
        assert value.dtype == torch.float16
        torch.testing.assert_close(loaded[key], value.float(), rtol=0, atol=0)


def test_normalising_latents_is_undone(folder: Path) -> None:
    model = load_model(folder)
    latents = torch.randn(1, 4, 2, 4, 4)
    torch.testing.assert_close(model.denormalise(model.normalise(latents)), latents)
    assert model.denormalise(torch.zeros(1, 4, 1, 1, 1)).flatten().tolist() == pytest.approx(
        [0.1] * 4
    )


def test_the_digest_changes_with_any_weight_and_any_setting(folder: Path) -> None:
    before = read_spec(folder).digest
    rewrite(folder, "model.yaml", "num_inference_steps: 2", "num_inference_steps: 3")
    after = read_spec(folder).digest
    assert before != after
    tensors = load_file(folder / DIT_FILE)
    tensors["head.bias"] += 1
    forge(folder, tensors)
    assert read_spec(folder).digest not in (before, after)


def test_the_width_of_a_stage_that_is_not_there_leaves_the_digest_as_it_was(folder: Path) -> None:
    spec = read_spec(folder)
    wider, deeper = replace(spec.dit, detail_width=48), replace(spec.dit, detail_depth=1)
    assert replace(spec, dit=wider).digest == spec.digest
    assert replace(spec, dit=deeper).digest != spec.digest


def test_altered_weights_are_refused(folder: Path) -> None:
    data = bytearray((folder / DIT_FILE).read_bytes())
    data[-1] ^= 1
    (folder / DIT_FILE).write_bytes(data)
    with pytest.raises(WeightsError, match=r"dit\.safetensors: got sha256 .* expected .*damaged"):
        load_model(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "vae.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"vae\.safetensors: missing"):
        load_model(folder)


def test_missing_unexpected_and_misshapen_keys_are_listed(folder: Path) -> None:
    tensors = load_file(folder / DIT_FILE)
    del tensors["embed.bias"]
    tensors["extra"] = torch.zeros(1)
    tensors["head.bias"] = torch.zeros(3)
    forge(folder, tensors)
    with pytest.raises(WeightsError) as caught:
        load_model(folder)
    for part in ("1 missing (embed.bias)", "1 unexpected (extra)", "head.bias (3,) instead of"):
        assert part in str(caught.value)


def test_a_file_that_is_no_safetensors_is_refused(folder: Path) -> None:
    before = file_sha256(folder / DIT_FILE)
    (folder / DIT_FILE).write_bytes(b"PK\x03\x04 pickled")
    rewrite(folder, "model.yaml", before, file_sha256(folder / DIT_FILE))
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        load_model(folder)


def test_file_names_cannot_leave_the_folder(folder: Path) -> None:
    rewrite(folder, "model.yaml", "dit.safetensors:", "../dit.safetensors:")
    with pytest.raises(WeightsError, match="missing"):
        load_model(folder)


def test_unknown_fields_of_the_description_are_refused(folder: Path) -> None:
    rewrite(folder, "model.yaml", "  depth: 2", "  dept: 2")
    with pytest.raises(ConfigError, match=r"dit\.dept: unknown field.*Did you mean 'depth'"):
        load_model(folder)


def test_a_missing_model_says_what_was_expected() -> None:
    with pytest.raises(WeightsError, match=r"got 'no/such/folder', expected 'default', a folder"):
        resolve_model("no/such/folder")


def test_the_original_layout_of_wan_is_known(tmp_path: Path) -> None:
    (tmp_path / "Wan2.1_VAE.pth").touch()
    with pytest.raises(WeightsError, match=r"Fix: .*convert_wan_original\.py"):
        resolve_model(tmp_path)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((5, 40, 64), r"height: got 40, expected a multiple of 16 \(32, 48\)"),
        ((5, 64, 8), r"width: got 8, expected a multiple of 16 \(16, 32\)"),
    ],
)
def test_sizes_are_checked(tiny_model: Path, size: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_spec(tiny_model).check_size(*size)


def test_latent_shape(tiny_model: Path) -> None:
    spec: ModelSpec = read_spec(tiny_model)
    spec.check_size(81, 64, 96)
    assert spec.latent_shape(81, 64, 96) == (4, 21, 8, 12)


def test_a_vae_folder_comes_back(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder)
    save_vae(tmp_path / "vae", model.vae, model.spec.latents)
    vae, statistics = load_vae(tmp_path / "vae")
    assert statistics == model.spec.latents
    for key, value in vae.state_dict().items():
        assert torch.equal(value, model.vae.state_dict()[key])
