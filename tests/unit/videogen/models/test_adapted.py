from __future__ import annotations

import dataclasses

import pytest
import torch

from videogen.config import load_yaml
from videogen.errors import WeightsError
from videogen.models.config import DiTConfig, TextConfig, VAEConfig
from videogen.models.dit import SpacetimeDiT
from videogen.models.spec import LORA_FILE, SPEC_FILE, LatentStatistics, ModelSpec, read_spec
from videogen.models.text import WordEncoder
from videogen.models.vae import VideoVAE
from videogen.models.weights import describe_adapted, load_model, save_model
from videogen.training.lora import save_lora

TEXT = TextConfig(width=16, depth=1, num_heads=2)
LAYER = "blocks.0.cross_attention.q"


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "base"
    make_base(folder, seed=0)
    return folder


def make_base(folder, seed):
    torch.manual_seed(seed)
    dit = DiTConfig(width=16, depth=1, num_heads=2, text_width=16)
    vae = VAEConfig(widths=(8, 8, 8), decoder_blocks=(1, 1, 1), detail_width=4, detail_blocks=1)
    ones = LatentStatistics(mean=(0.0,) * 16, std=(1.0,) * 16)
    sampling = {"num_inference_steps": 12, "guidance_scale": 5.0}
    spec = ModelSpec(
        name="b", dit=dit, vae=vae, text=TEXT, latents=ones, sampling=sampling, vocabulary=("a",)
    )
    save_model(folder, spec, SpacetimeDiT(dit), VideoVAE(vae), WordEncoder(TEXT, ("a",)))


def adapt(folder, base, said="../base"):
    """An adapter of rank 1 that adds 0.5 to every weight of one layer."""
    folder.mkdir()
    down, up = torch.ones(1, 16), torch.full((16, 1), 0.5)
    save_lora({f"{LAYER}.lora_A": down, f"{LAYER}.lora_B": up}, folder / LORA_FILE)
    describe_adapted(folder, "quick", said, read_spec(base), {"guidance_scale": 1.0})
    return folder


def test_an_adapted_model_is_its_base_with_the_adapter_added(base, tmp_path):
    plain, adapted = load_model(base), load_model(adapt(tmp_path / "adapted", base))
    changed = {
        name: (parameter - plain.dit.get_parameter(name)).abs().max().item()
        for name, parameter in adapted.dit.named_parameters()
    }
    assert changed.pop(f"{LAYER}.weight") == pytest.approx(0.5)
    assert set(changed.values()) == {0.0}
    assert isinstance(adapted.text, WordEncoder)
    assert isinstance(plain.text, WordEncoder)
    assert torch.equal(adapted.text.words.weight, plain.text.words.weight)


def test_its_description_is_whole_and_another_than_that_of_its_base(base, tmp_path):
    spec, whole = read_spec(adapt(tmp_path / "adapted", base)), read_spec(base)
    assert (spec.name, spec.dit, spec.vocabulary) == ("quick", whole.dit, whole.vocabulary)
    assert spec.sampling == {"num_inference_steps": 12, "guidance_scale": 1.0}
    assert spec.digest != whole.digest
    assert dataclasses.replace(spec, name="b", sampling=whole.sampling).digest != whole.digest


def test_everybody_may_read_what_is_written(base, tmp_path):
    folder = adapt(tmp_path / "adapted", base)
    files = [*base.glob("*.safetensors"), folder / LORA_FILE]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o644}


def test_an_adapter_of_another_base_is_refused(base, tmp_path):
    folder = adapt(tmp_path / "adapted", base)
    make_base(base, seed=1)
    with pytest.raises(WeightsError, match=r"adapter for a model whose dit\.safetensors has the"):
        load_model(folder)


def test_an_altered_adapter_is_refused(base, tmp_path):
    folder = adapt(tmp_path / "adapted", base)
    content = (folder / LORA_FILE).read_bytes()
    (folder / LORA_FILE).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(WeightsError, match=r"lora\.safetensors: got sha256"):
        load_model(folder)


def test_a_base_is_a_whole_model_and_is_there(base, tmp_path):
    first = adapt(tmp_path / "adapted", base)
    assert load_yaml(first / SPEC_FILE)["base"] == "../base"
    twice = adapt(tmp_path / "twice", base, said="../adapted")
    with pytest.raises(WeightsError, match="has a base itself"):
        read_spec(twice)
    missing = adapt(tmp_path / "missing", base, said="no/such")
    with pytest.raises(WeightsError, match="got 'no/such'"):
        read_spec(missing)
