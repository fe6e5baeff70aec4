from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tiny_published import latte_pipeline
from videogen.errors import ConfigError, InvalidRequestError
from videogen.models.latte.folder import load_latte
from videogen.models.latte.spec import read_latte_spec
from videogen.models.text import encode_pair

pytest.importorskip("diffusers")
PROMPT, LONG = "a red circle", "a red circle moving right a blue square"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("latte")
    latte_pipeline(folder)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A private copy, to damage at will."""
    return Path(shutil.copytree(written, tmp_path / "latte"))


def test_the_description_is_read_without_weights(folder):
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()
    spec = read_latte_spec(folder)
    assert not spec.vae.across_frames
    assert read_latte_spec(folder, "vae_temporal_decoder").vae.across_frames
    assert spec.latent_shape(5, 32, 24) == (4, 5, 8, 6)
    assert spec.sampling["num_frames"] == 5
    assert spec.sampling["height"] == spec.sampling["width"] == 32
    with pytest.raises(InvalidRequestError, match="height: got 12, expected a multiple of 8"):
        spec.check_size(5, 12, 24)


def test_the_decoder_is_part_of_the_digest(written):
    alone = read_latte_spec(written)
    assert alone.digest != read_latte_spec(written, "vae_temporal_decoder").digest


def test_a_prompt_ends_where_it_ends_and_so_does_the_negative_one(written):
    text = load_latte(written).text
    assert text.encode([f" {PROMPT.upper()} "]).tokens.shape == (1, 4, 20)  # with the end token
    shown, avoided = encode_pair(text, PROMPT, LONG)
    assert shown.tokens.shape == avoided.tokens.shape == (1, 4, 20)
    whole = text.encode([LONG])
    assert whole.tokens.shape == (1, 9, 20)
    torch.testing.assert_close(avoided.tokens, whole.tokens[:, :4], atol=1e-5, rtol=1e-4)


def test_a_batch_of_prompts_is_padded_and_masked(written):
    text = load_latte(written).text
    both = text.encode([PROMPT, LONG])
    assert both.mask.sum(1).tolist() == [4, 9]
    torch.testing.assert_close(both.tokens[:1, :4], text.encode([PROMPT]).tokens)


def test_older_names_of_the_vae_are_read(written, folder):
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    new = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = load_file(path)
    for name, old in new.items():
        weights = {key.replace(f".{name}.", f".{old}."): w for key, w in weights.items()}
    assert "encoder.mid_block.attentions.0.query.weight" in weights
    save_file(weights, path)
    expected = load_latte(written).vae.state_dict()
    for name, value in load_latte(folder).vae.state_dict().items():
        assert torch.equal(value, expected[name])


@pytest.mark.parametrize(
    ("file", "fields", "problem"),
    [
        ("model_index.json", {"_class_name": "WanPipeline"}, "expected LattePipeline"),
        ("transformer/config.json", {"activation_fn": "geglu"}, "activation_fn: got 'geglu'"),
        ("transformer/config.json", {"cross_attention_dim": 20}, "expected 36, the width"),
        ("vae/config.json", {"down_block_types": ["AttnDownEncoderBlock2D"]}, "down_block_types"),
        ("vae/config.json", {"shift_factor": 0.1}, "shift_factor: got 0.1"),
        ("vae/config.json", {"_class_name": "VQModel"}, "got 'VQModel', expected AutoencoderKL"),
    ],
)
def test_what_is_not_supported_is_refused(folder, file, fields, problem):
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    with pytest.raises(ConfigError, match=problem) as error:
        read_latte_spec(folder)
    assert str(path) in str(error.value)
