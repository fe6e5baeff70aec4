"""Summaries must hold the numbers of the model at the size asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from videogen.errors import ConfigError, InvalidRequestError
from videogen.models import cost
from videogen.models.config import DiTConfig, TextConfig, VAEConfig
from videogen.models.dit import SpacetimeDiT
from videogen.models.presets import PRESETS
from videogen.models.spec import LatentStatistics, ModelSpec
from videogen.models.text import WordEncoder
from videogen.models.vae import VideoVAE
from videogen.models.weights import save_model
from videogen_pipelines.model_summary import Size, find_model, summarise_model

OWN_SIZE = Size()


@pytest.fixture
def trained(tmp_path) -> Path:
    """A tiny model folder with weights."""
    spec = ModelSpec(
        name="tiny",
        dit=DiTConfig(in_channels=4, width=16, depth=1, num_heads=2, text_width=8),
        vae=VAEConfig(latent_channels=4, widths=(8, 8, 8)),
        text=TextConfig(width=8, depth=1, num_heads=2, max_tokens=5),
        latents=LatentStatistics(mean=(0.0,) * 4, std=(1.0,) * 4),
        sampling={"num_frames": 9, "height": 32, "width": 48, "num_inference_steps": 3},
        vocabulary=("red", "circle"),
    )
    text = WordEncoder(spec.text, spec.vocabulary)
    save_model(tmp_path / "tiny", spec, SpacetimeDiT(spec.dit), VideoVAE(spec.vae), text)
    return tmp_path / "tiny"


def test_a_preset_is_costed_at_the_size_it_is_meant_for():
    summary = summarise_model("xl", OWN_SIZE)
    assert (summary.width, summary.height, summary.num_frames) == (832, 480, 81)
    assert summary.latent_shape == (16, 21, 60, 104)
    assert summary.num_tokens == 21 * 30 * 52
    t, s = 21, 30 * 52
    assert summary.attention["factorized"].pairs == t * s**2 + s * t**2
    assert summary.attention["joint"].pairs == (t * s) ** 2
    assert summary.attention_ratio == pytest.approx(t * s / (t + s))
    assert summary.parameters.dit > 1e9 and summary.folder is None


def test_another_size_is_taken_as_a_whole_or_in_part():
    summary = summarise_model("small", Size(num_frames=65, width=256))
    assert (summary.width, summary.height, summary.num_frames) == (256, 128, 65)
    assert summary.num_tokens == 17 * 8 * 16


def test_memory_and_operations_are_those_of_the_cost_functions():
    summary, preset = summarise_model("base", OWN_SIZE), PRESETS["base"]
    held = summary.memory["bfloat16"]
    assert held.weights_bytes == 2 * summary.parameters.dit + 4 * summary.parameters.vae
    assert held.decode_bytes == cost.decode_peak_bytes(preset.vae, 256, 256)
    assert held.peak_bytes == held.weights_bytes + max(held.activations_bytes, held.decode_bytes)
    forward = summary.attention["factorized"].forward_flops
    decode = cost.decode_flops(preset.vae, summary.latent_shape)
    assert summary.clip_flops == 2 * summary.num_inference_steps * forward + decode


def test_a_model_folder_is_costed_with_its_own_sampling(trained):
    summary = summarise_model(str(trained), OWN_SIZE, flops_per_s=1e9)
    assert (summary.name, summary.folder) == ("tiny", str(trained))
    assert (summary.num_frames, summary.num_inference_steps) == (9, 3)
    assert summary.parameters.text == sum(
        p.numel()
        for p in WordEncoder(
            TextConfig(width=8, depth=1, num_heads=2, max_tokens=5), ("red", "circle")
        ).parameters()
    )
    assert summary.estimated_s == pytest.approx(summary.clip_flops / 1e9)


def test_a_folder_that_lost_a_file_has_no_weights(trained):
    assert find_model(str(trained))[1] == str(trained)
    (trained / "vae.safetensors").unlink()
    assert find_model(str(trained))[1] is None


def test_an_illegal_size_names_the_nearest_legal_ones():
    with pytest.raises(InvalidRequestError, match=r"height: got 100, expected a multiple of 16 \("):
        summarise_model("base", Size(height=100))


def test_an_unknown_model_lists_the_presets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"got 'xll', expected one of .*Did you mean 'xl'\?"):
        summarise_model("xll", OWN_SIZE)


def test_the_dictionary_is_plain_json():
    plain = summarise_model("default", OWN_SIZE).to_dict()
    assert json.loads(json.dumps(plain))["memory"]["float32"]["peak_bytes"] > 0
    assert plain["attention_ratio"] == pytest.approx(80 / (5 + 16))
