from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.tiny_published import wan_pipeline
from videogen.defaults import sampling_defaults
from videogen.errors import ConfigError, InvalidRequestError, WeightsError
from videogen.models.wan.experts import NoiseExperts
from videogen.models.wan.folder import clean_prompt, load_wan
from videogen.models.wan.spec import read_wan_spec
from videogen.models.wan.transformer import KnownFrames

pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wan")
    wan_pipeline(folder, experts=True)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A private copy, to damage at will."""
    return Path(shutil.copytree(written, tmp_path / "wan"))


def change(path: Path, **fields: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_the_description_is_read_without_weights(folder):
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()
    spec = read_wan_spec(folder)
    assert not spec.takes_image
    assert spec.low_noise_dit == spec.dit
    assert spec.boundary_ratio == 0.875
    assert spec.latent_shape(9, 32, 48) == spec.latent_shape(6, 32, 48) == (4, 3, 4, 6)
    assert spec.scheduler["flow_shift"] == 3.0


def test_flow_shift_follows_the_size(written):
    spec = read_wan_spec(written)
    defaults = sampling_defaults(spec.name, spec.sampling)
    assert defaults.filled({})["flow_shift"] == 3.0
    for size in ({"height": 720, "width": 1280}, {"height": 1280, "width": 720}):
        assert defaults.filled(size)["flow_shift"] == 5.0
        assert defaults.filled({**size, "flow_shift": 8.0})["flow_shift"] == 8.0


def test_sizes_that_do_not_divide_are_refused(written):
    spec = read_wan_spec(written)
    spec.check_size(7, 32, 48)
    with pytest.raises(InvalidRequestError, match=r"height: got 40, expected .* 16 \(32, 48\)"):
        spec.check_size(9, 40, 48)
    with pytest.raises(InvalidRequestError, match="width: got 8, expected a multiple of 16"):
        spec.check_size(9, 32, 8)


def test_bfloat16_keeps_what_was_trained_in_float32(written):
    exact, rounded = load_wan(written), load_wan(written, dtype=torch.bfloat16)
    assert isinstance(rounded.dit, NoiseExperts)
    dtypes = {name: p.dtype for name, p in rounded.dit.high.named_parameters()}
    kept = {name for name, dtype in dtypes.items() if dtype == torch.float32}
    assert "blocks.0.scale_shift_table" in kept
    assert "blocks.0.norm2.weight" in kept
    assert "condition_embedder.time_embedder.linear_1.weight" in kept
    assert dtypes["blocks.0.attn1.norm_q.weight"] == torch.bfloat16
    assert {p.dtype for p in rounded.vae.parameters()} == {torch.float32}
    latents = torch.randn(1, 4, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    timesteps = torch.tensor([900.0])
    a, b = (m.dit(latents, timesteps, m.text.encode(["a red circle"])) for m in (exact, rounded))
    assert b.dtype == latents.dtype
    assert 0 < (a - b).abs().max() / a.abs().max() < 0.05


def test_experts_share_the_noise_levels(written):
    dit = load_wan(written).dit
    assert isinstance(dit, NoiseExperts)
    assert dit.expert(875.0) is dit.high
    assert dit.expert(874.0) is dit.low
    assert not torch.equal(dit.high.proj_out.weight, dit.low.proj_out.weight)


def test_a_first_frame_only_where_it_is_wanted(written):
    model = load_wan(written)
    text = model.text.encode(["a"])
    latents, timesteps = torch.zeros(1, 4, 2, 4, 4), torch.tensor([900.0])
    with pytest.raises(InvalidRequestError, match="first frame: got one, expected none"):
        model.dit(latents, timesteps, text, KnownFrames(torch.zeros(1, 8, 2, 4, 4), None))
    with pytest.raises(InvalidRequestError, match="got 3x4 cells, expected multiples"):
        model.dit(latents[..., :3, :], timesteps, text)


def test_latents_are_normalised_and_back(written):
    model = load_wan(written)
    latents = torch.randn(1, 4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.normalise(model.denormalise(latents)), latents)
    mean, std = torch.tensor([0.1, -0.2, 0.3, -0.4]), torch.tensor([1.5, 0.5, 2.0, 1.0])
    expected = latents[0, :, 0, 0, 0] * std + mean
    torch.testing.assert_close(model.denormalise(latents)[0, :, 0, 0, 0], expected)


def test_the_digest_is_that_of_weights_and_configuration(written, folder):
    spec = read_wan_spec(written)
    assert spec.digest == read_wan_spec(folder).digest
    assert replace(spec, boundary_ratio=0.9).digest != spec.digest
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert read_wan_spec(folder).digest != spec.digest


@pytest.mark.parametrize(
    ("file", "fields", "problem"),
    [
        ("model_index.json", {"_class_name": "LTXPipeline"}, "got 'LTXPipeline', expected Wan"),
        ("model_index.json", {"expand_timesteps": True}, "Wan2.2-TI2V-5B is not supported"),
        ("transformer/config.json", {"qk_norm": None}, "qk_norm: got None"),
        ("transformer/config.json", {"num_layers": "2"}, "num_layers: got '2'"),
        ("transformer/config.json", {"patch_size": [2, 2, 2]}, "expected 1 along t"),
        ("transformer/config.json", {"image_dim": 24}, "expected both or neither"),
        ("transformer/config.json", {"new_field": 1}, "new_field: unknown field"),
        ("vae/config.json", {"is_residual": True}, "is_residual: got True"),
        ("vae/config.json", {"latents_std": [1.0]}, "got 1 values of mean or std, expected 4"),
        ("vae/config.json", {"scale_factor_spatial": 16}, "expected 4 and 8"),
    ],
)
def test_what_is_not_supported_is_refused(folder, file, fields, problem):
    change(folder / file, **fields)
    with pytest.raises(ConfigError, match=problem) as error:
        read_wan_spec(folder)
    assert str(folder / file) in str(error.value)


def test_another_size_than_the_weights_is_refused(folder):
    change(folder / "transformer_2" / "config.json", num_layers=3)
    with pytest.raises(WeightsError, match=r"transformer_2: .* missing \(blocks.2.attn1"):
        load_wan(folder)


def test_a_missing_description_is_named(folder):
    (folder / "scheduler" / "scheduler_config.json").unlink()
    with pytest.raises(WeightsError, match=r"scheduler_config.json: cannot be read"):
        read_wan_spec(folder)


def test_prompts_are_cleaned():
    assert clean_prompt("  a &amp;amp; b\n\tc ") == "a & b c"


@pytest.mark.parametrize(
    "prompt",
    [
        "一只猫，在草地上奔跑！（远景）",
        "\u201ca\u201d caf\u00c3\u00a9, \ufb01ne\u3000day",
        " <b>a</b> &lt;i&gt;  \r\n b\x1c c",
    ],
)
def test_prompts_are_cleaned_as_the_reference_cleans_them(prompt: str) -> None:
    reference = pytest.importorskip("diffusers.pipelines.wan.pipeline_wan")
    assert clean_prompt(prompt) == reference.prompt_clean(prompt)
    assert clean_prompt("猫，狗！") == "猫,狗!"
