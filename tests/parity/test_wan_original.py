"""A Wan folder in the original layout, converted, is the folder that diffusers writes."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from scripts.convert_wan_original import TEXT_FILE, TOKENIZER, VAE_FILE, convert
from tests.tiny_published import WAN_SIZE, draw, wan_pipeline
from videogen.errors import WeightsError
from videogen.models.wan.config import WAN_I2V_14B, WanConfig
from videogen.models.wan.folder import load_wan
from videogen.models.wan.original import transformer_name, vae_name

diffusers: Any = pytest.importorskip("diffusers")
utils: Any = pytest.importorskip("diffusers.loaders.single_file_utils")
pytestmark = pytest.mark.parity

# From published names to original ones, as the repository of Wan 2.1 has them.
TRANSFORMER = {
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.image_embedder.norm1": "img_emb.proj.0",
    "condition_embedder.image_embedder.ff.net.0.proj": "img_emb.proj.1",
    "condition_embedder.image_embedder.ff.net.2": "img_emb.proj.3",
    "condition_embedder.image_embedder.norm2": "img_emb.proj.4",
    "condition_embedder.image_embedder.pos_embed": "img_emb.emb_pos",
    "proj_out": "head.head",
    "attn1": "self_attn",
    "attn2": "cross_attn",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "o",
    "add_k_proj": "k_img",
    "add_v_proj": "v_img",
    "norm_added_k": "norm_k_img",
    "norm2": "norm3",
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
}
RESIDUAL = {
    "norm1": "residual.0",
    "conv1": "residual.2",
    "norm2": "residual.3",
    "conv2": "residual.6",
    "conv_shortcut": "shortcut",
}
TEXT = {
    "shared": "token_embedding",
    "encoder.final_layer_norm": "norm",
    "encoder.block": "blocks",
    "layer.0.SelfAttention.relative_attention_bias": "pos_embedding.embedding",
    "layer.0.SelfAttention": "attn",
    "layer.0.layer_norm": "norm1",
    "layer.1.layer_norm": "norm2",
    "layer.1.DenseReluDense.wi_0": "ffn.gate.0",
    "layer.1.DenseReluDense.wi_1": "ffn.fc1",
    "layer.1.DenseReluDense.wo": "ffn.fc2",
}


def replaced(key: str, names: Mapping[str, str]) -> str:
    for new, old in names.items():
        key = re.sub(rf"(^|\.){re.escape(new)}(?=\.|$)", rf"\g<1>{old}", key)
    return key


def original_transformer(key: str) -> str:
    if key == "scale_shift_table":
        return "head.modulation"
    return replaced(key.replace("scale_shift_table", "modulation"), TRANSFORMER)


def original_vae(key: str) -> str:
    if found := re.match(r"decoder\.up_blocks\.(\d)\.(resnets|upsamplers)\.(\d)\.", key):
        place = 4 * int(found[1]) + (int(found[3]) if found[2] == "resnets" else 3)
        key = f"decoder.upsamples.{place}.{key[found.end() :]}"
    key = key.replace("encoder.down_blocks", "encoder.downsamples")
    key = re.sub(r"mid_block\.resnets\.0", "middle.0", key)
    key = re.sub(r"mid_block\.attentions\.0", "middle.1", key)
    key = re.sub(r"mid_block\.resnets\.1", "middle.2", key)
    if not re.match(r"(post_)?quant_conv", key):
        key = replaced(key, RESIDUAL)
    ends = {"conv_in": "conv1", "norm_out": "head.0", "conv_out": "head.2"}
    return replaced(key, ends | {"post_quant_conv": "conv2", "quant_conv": "conv1"})


def original_text(key: str) -> str:
    return replaced(key, TEXT)


def meta_state(model: Any) -> dict[str, Tensor]:
    return dict(model.state_dict())


def test_names_of_the_transformer_are_those_of_the_reference():
    fields = {name: getattr(WAN_I2V_14B, name) for name in WanConfig.__dataclass_fields__}
    with torch.device("meta"):
        state = meta_state(diffusers.WanTransformer3DModel(**fields | {"num_layers": 2}))
    keys = [original_transformer(key) for key in state]
    assert "blocks.1.cross_attn.k_img.weight" in keys
    assert "blocks.0.modulation" in keys
    assert [transformer_name(key) for key in keys] == list(state)
    theirs = utils.convert_wan_transformer_to_diffusers({key: key for key in keys})
    assert {key: transformer_name(key) for key in keys} == {old: new for new, old in theirs.items()}


def test_positions_of_two_pictures_are_renamed():
    assert transformer_name("img_emb.emb_pos") == "condition_embedder.image_embedder.pos_embed"


def test_names_of_the_vae_are_those_of_the_reference():
    with torch.device("meta"):
        state = meta_state(diffusers.AutoencoderKLWan())
    keys = [original_vae(key) for key in state]
    assert "decoder.upsamples.7.time_conv.weight" in keys
    assert [vae_name(key) for key in keys] == list(state)
    theirs = utils.convert_wan_vae_to_diffusers({key: key for key in keys})
    assert {key: vae_name(key) for key in keys} == {old: new for new, old in theirs.items()}


def write_original(folder: Path, published: Path, config: dict[str, Any]) -> None:
    """The original layout of a folder in the diffusers layout; the transformer in two shards."""
    weights = load_file(published / "transformer" / "diffusion_pytorch_model.safetensors")
    named = {original_transformer(key): value for key, value in weights.items()}
    keys = sorted(named)
    shards = {"a": keys[::2], "b": keys[1::2]}
    names = {s: f"diffusion_pytorch_model-{s}.safetensors" for s in shards}
    for shard, members in shards.items():
        save_file({key: named[key] for key in members}, folder / names[shard])
    places = {key: names[shard] for shard, members in shards.items() for key in members}
    index = folder / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    (folder / "config.json").write_text(json.dumps(config))
    vae = load_file(published / "vae" / "diffusion_pytorch_model.safetensors")
    torch.save({original_vae(key): value for key, value in vae.items()}, folder / VAE_FILE)
    text = load_file(published / "text_encoder" / "model.safetensors")
    torch.save({original_text(key): value for key, value in text.items()}, folder / TEXT_FILE)
    shutil.copytree(published / "tokenizer", folder / TOKENIZER)


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """An original folder; what it was made from is `published` beside it."""
    published, folder = tmp_path / "published", tmp_path / "original"
    folder.mkdir()
    size = {"in_channels": 16, "out_channels": 16}
    vae = {"base_dim": 4, "z_dim": 16}
    wan_pipeline(published, size=size, vae=vae)
    config = {
        "_class_name": "WanModel",
        "model_type": "t2v",
        "dim": WAN_SIZE["num_attention_heads"] * WAN_SIZE["attention_head_dim"],
        "eps": 1e-06,
        "ffn_dim": WAN_SIZE["ffn_dim"],
        "freq_dim": WAN_SIZE["freq_dim"],
        "in_dim": 16,
        "num_heads": WAN_SIZE["num_attention_heads"],
        "num_layers": WAN_SIZE["num_layers"],
        "out_dim": 16,
        "text_len": 512,
        "text_dim": WAN_SIZE["text_dim"],
    }
    write_original(folder, published, config)
    return folder


def test_a_converted_folder_is_the_published_one(original, tmp_path):
    convert(original, tmp_path / "converted", flow_shift=3.0)
    ours, theirs = (load_wan(tmp_path / name) for name in ("converted", "published"))
    assert ours.spec.dit == theirs.spec.dit
    assert ours.spec.vae == theirs.spec.vae
    for part in ("dit", "vae"):
        a, b = (getattr(model, part).state_dict() for model in (ours, theirs))
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a)
    prompts = ["a red circle"]
    assert torch.equal(ours.text.encode(prompts).tokens, theirs.text.encode(prompts).tokens)
    assert not list((tmp_path / "converted").rglob("*.pth"))


def test_a_pickle_of_anything_but_tensors_is_refused(original, tmp_path):
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path(tmp_path / "ran").touch, ())

    torch.save({"encoder.conv1.weight": Evil()}, original / VAE_FILE)
    with pytest.raises(WeightsError, match="cannot be read as a state dict"):
        convert(original, tmp_path / "converted")
    assert not (tmp_path / "ran").exists()
    torch.save({"epoch": 3}, original / VAE_FILE)
    with pytest.raises(WeightsError, match="got more than tensors"):
        convert(original, tmp_path / "again")


def test_drawing_uses_every_part():
    """What the other tests rest on: no weight is left at zero or one."""
    model = draw(diffusers.WanTransformer3DModel(**WAN_SIZE))
    assert all(parameter.std() > 0.01 for parameter in model.parameters())
