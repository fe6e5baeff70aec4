"""Presets must be the sizes they claim, fit together, and be what `configs/model` says."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from videogen.config import load_dataclass, load_yaml
from videogen.errors import ConfigError
from videogen.models.dit import SpacetimeDiT
from videogen.models.presets import PRESETS, ModelPreset, count_parameters, load_preset
from videogen.models.spec import SPEC_FILE, read_spec
from videogen.models.text import WordEncoder
from videogen.models.vae import VideoVAE

ROOT = Path(__file__).parents[4]
MODELS = ROOT / "configs" / "model"
NAMES = list(PRESETS)
# Millions of parameters of the DiT, as the documentation names the sizes.
MILLIONS = {"default": 6.7, "small": 31, "base": 134, "large": 464, "xl": 1092, "xxl": 2464}


def test_every_preset_has_its_yaml_and_every_yaml_its_preset():
    assert {path.stem for path in MODELS.glob("*.yaml")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_yaml_and_table_agree(name):
    assert load_preset(MODELS / f"{name}.yaml") == PRESETS[name]
    assert PRESETS[name].name == name


@pytest.mark.parametrize("name", NAMES)
def test_the_dit_has_the_size_it_claims(name):
    counts = count_parameters(PRESETS[name].spec())
    assert counts.dit / 1e6 == pytest.approx(MILLIONS[name], rel=0.01)
    assert counts.vae < counts.dit or name == "default"


def test_sizes_grow_from_preset_to_preset():
    sizes = [count_parameters(PRESETS[name].spec()).total for name in NAMES]
    assert sizes == sorted(sizes)
    assert sizes[-2] > 1e9


def test_parameters_counted_on_meta_are_those_of_the_real_modules():
    spec = dataclasses.replace(PRESETS["default"].spec(), vocabulary=("a", "red", "circle"))
    counts = count_parameters(spec)
    modules = SpacetimeDiT(spec.dit), VideoVAE(spec.vae), WordEncoder(spec.text, spec.vocabulary)
    real = [sum(p.numel() for p in module.parameters()) for module in modules]
    assert [counts.dit, counts.vae, counts.text] == real
    assert counts.total == sum(real)


def test_a_pretrained_text_encoder_is_not_counted():
    counts = count_parameters(PRESETS["xl"].spec())
    assert counts.text is None
    assert counts.total == counts.dit + counts.vae


@pytest.mark.parametrize("name", NAMES)
def test_the_clip_is_one_the_model_can_make(name):
    preset = PRESETS[name]
    spec = preset.spec()
    spec.check_size(preset.clip.num_frames, preset.clip.height, preset.clip.width)
    assert spec.sampling["fps"] == preset.clip.fps


def test_parts_that_do_not_fit_are_refused():
    preset = PRESETS["small"]
    channels = dataclasses.replace(preset.vae, latent_channels=8)
    with pytest.raises(ConfigError, match=r"dit\.in_channels: got 16, expected 8"):
        dataclasses.replace(preset, vae=channels)
    text = dataclasses.replace(preset.text, width=512)
    with pytest.raises(ConfigError, match=r"dit\.text_width: got 768, expected 512"):
        dataclasses.replace(preset, text=text)


def test_an_illegal_clip_is_refused_with_the_legal_ones():
    preset = PRESETS["small"]
    with pytest.raises(ValueError, match=r"clip.num_frames: got 32, expected 4n\+1 \(29, 33\)"):
        dataclasses.replace(preset, clip=dataclasses.replace(preset.clip, num_frames=32))


def test_yaml_mistakes_are_named_by_path(tmp_path):
    text = (MODELS / "base.yaml").read_text().replace("width: 640", "widht: 640")
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"mine\.yaml: dit\.widht: unknown field.*'width'"):
        load_preset(tmp_path / "mine.yaml")


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"model: got 'bas', expected .*Did you mean 'base'"):
        PRESETS["bas"]


def test_default_is_what_is_trained_and_what_ships():
    dit, vae = (load_yaml(ROOT / "configs" / "train" / f"{name}.yaml") for name in ("dit", "vae"))
    as_trained: dict[str, Any] = {
        "schema": 1,
        "name": "default",
        "description": PRESETS["default"].description,
    }
    as_trained |= {"dit": dit["dit"], "text": dit["text"], "vae": vae["vae"]}
    as_trained["clip"] = dataclasses.asdict(PRESETS["default"].clip)
    assert load_dataclass(ModelPreset, as_trained, "configs/train") == PRESETS["default"]
    shipped = ROOT / "videogen" / "assets" / "default"
    if (shipped / SPEC_FILE).is_file():
        spec = read_spec(shipped)
        expected = PRESETS["default"]
        assert (spec.dit, spec.vae, spec.text) == (expected.dit, expected.vae, expected.text)
