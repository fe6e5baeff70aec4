"""Names of the weights in Wan's original layout, and what they are called in the diffusers layout.

The original folder holds the transformer as safetensors and the VAE and the text encoder as
pickles; `scripts/convert_wan_original.py` turns one into the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from videogen.errors import ConfigError

_TRANSFORMER = (
    (r"^time_embedding\.0\.", "condition_embedder.time_embedder.linear_1."),
    (r"^time_embedding\.2\.", "condition_embedder.time_embedder.linear_2."),
    (r"^time_projection\.1\.", "condition_embedder.time_proj."),
    (r"^text_embedding\.0\.", "condition_embedder.text_embedder.linear_1."),
    (r"^text_embedding\.2\.", "condition_embedder.text_embedder.linear_2."),
    (r"^img_emb\.proj\.0\.", "condition_embedder.image_embedder.norm1."),
    (r"^img_emb\.proj\.1\.", "condition_embedder.image_embedder.ff.net.0.proj."),
    (r"^img_emb\.proj\.3\.", "condition_embedder.image_embedder.ff.net.2."),
    (r"^img_emb\.proj\.4\.", "condition_embedder.image_embedder.norm2."),
    (r"^img_emb\.emb_pos$", "condition_embedder.image_embedder.pos_embed"),
    (r"^head\.head\.", "proj_out."),
    (r"^head\.modulation$", "scale_shift_table"),
    (r"\.modulation$", ".scale_shift_table"),
    (r"\.self_attn\.", ".attn1."),
    (r"\.cross_attn\.", ".attn2."),
    (r"\.([qkv])\.(?=weight|bias)", r".to_\1."),
    (r"\.o\.(?=weight|bias)", ".to_out.0."),
    (r"\.([kv])_img\.", r".add_\1_proj."),
    (r"\.norm_k_img\.", ".norm_added_k."),
    # The second norm has no weights here, and the norm before cross-attention is the third.
    (r"\.norm3\.", ".norm2."),
    (r"\.ffn\.0\.", ".ffn.net.0.proj."),
    (r"\.ffn\.2\.", ".ffn.net.2."),
)
_VAE = (
    (r"^conv1\.", "quant_conv."),
    (r"^conv2\.", "post_quant_conv."),
    (r"^(\w+)\.conv1\.", r"\1.conv_in."),
    (r"^(\w+)\.head\.0\.", r"\1.norm_out."),
    (r"^(\w+)\.head\.2\.", r"\1.conv_out."),
    (r"^(\w+)\.middle\.0\.", r"\1.mid_block.resnets.0."),
    (r"^(\w+)\.middle\.1\.", r"\1.mid_block.attentions.0."),
    (r"^(\w+)\.middle\.2\.", r"\1.mid_block.resnets.1."),
    (r"^encoder\.downsamples\.", "encoder.down_blocks."),
    (r"\.residual\.0\.", ".norm1."),
    (r"\.residual\.2\.", ".conv1."),
    (r"\.residual\.3\.", ".norm2."),
    (r"\.residual\.6\.", ".conv2."),
    (r"\.shortcut\.", ".conv_shortcut."),
)
_TEXT = (
    (r"^token_embedding\.", "shared."),
    (r"^norm\.", "encoder.final_layer_norm."),
    (r"^blocks\.(\d+)\.norm1\.", r"encoder.block.\1.layer.0.layer_norm."),
    (r"^blocks\.(\d+)\.norm2\.", r"encoder.block.\1.layer.1.layer_norm."),
    (r"^blocks\.(\d+)\.attn\.", r"encoder.block.\1.layer.0.SelfAttention."),
    (
        r"^blocks\.(\d+)\.pos_embedding\.embedding\.",
        r"encoder.block.\1.layer.0.SelfAttention.relative_attention_bias.",
    ),
    (r"^blocks\.(\d+)\.ffn\.gate\.0\.", r"encoder.block.\1.layer.1.DenseReluDense.wi_0."),
    (r"^blocks\.(\d+)\.ffn\.fc1\.", r"encoder.block.\1.layer.1.DenseReluDense.wi_1."),
    (r"^blocks\.(\d+)\.ffn\.fc2\.", r"encoder.block.\1.layer.1.DenseReluDense.wo."),
)
_UPSAMPLES = re.compile(r"^decoder\.upsamples\.(\d+)\.")


def transformer_name(key: str) -> str:
    """What a weight of the original transformer is called in the diffusers layout."""
    return _renamed(key, _TRANSFORMER)


def text_name(key: str) -> str:
    """What a weight of the original UMT5 encoder is called in transformers."""
    return _renamed(key, _TEXT)


def vae_name(key: str, blocks_per_stage: int = 3) -> str:
    """What a weight of the original VAE is called in the diffusers layout.

    Args:
        blocks_per_stage: residual blocks of a stage of the decoder; a step in size follows them.
    """
    if found := _UPSAMPLES.match(key):
        stage, place = divmod(int(found[1]), blocks_per_stage + 1)
        layer = "upsamplers.0" if place == blocks_per_stage else f"resnets.{place}"
        key = f"decoder.up_blocks.{stage}.{layer}.{key[found.end() :]}"
    return _renamed(key, _VAE)


def _renamed(key: str, rules: Sequence[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def transformer_config(
    said: Mapping[str, Any], keys: Mapping[str, Any], source: str
) -> dict[str, Any]:
    """`transformer/config.json` of the diffusers layout, from the original `config.json`.

    Args:
        said: the original configuration.
        keys: the original weights by name; they tell whether an image is attended to.

    Raises:
        ConfigError: it is not that of a Wan transformer.
    """
    missing = [name for name in ("dim", "num_heads", "num_layers", "ffn_dim") if name not in said]
    if missing or said.get("model_type") not in ("t2v", "i2v", "flf2v"):
        raise ConfigError(
            f"{source}: got model_type {said.get('model_type')!r} without {', '.join(missing)}, "
            "expected t2v, i2v or flf2v and its sizes. Fix: give an original Wan 2.1 folder."
        )
    attends = "img_emb.proj.0.weight" in keys
    dim, positions = int(said["dim"]), keys.get("img_emb.emb_pos")
    return {
        "_class_name": "WanTransformer3DModel",
        "num_attention_heads": int(said["num_heads"]),
        "attention_head_dim": dim // int(said["num_heads"]),
        "in_channels": int(said.get("in_dim", 16)),
        "out_channels": int(said.get("out_dim", 16)),
        "text_dim": int(said.get("text_dim", 4096)),
        "freq_dim": int(said.get("freq_dim", 256)),
        "ffn_dim": int(said["ffn_dim"]),
        "num_layers": int(said["num_layers"]),
        "eps": float(said.get("eps", 1e-6)),
        "image_dim": len(keys["img_emb.proj.0.weight"]) if attends else None,
        "added_kv_proj_dim": dim if attends else None,
        "pos_embed_seq_len": None if positions is None else positions.shape[1],
    }


def text_config(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """`text_encoder/config.json` of transformers, from the shapes of the original UMT5 encoder."""
    vocabulary, width = weights["token_embedding.weight"].shape
    buckets, heads = weights["blocks.0.pos_embedding.embedding.weight"].shape
    layers = {key.split(".")[1] for key in weights if key.startswith("blocks.")}
    return {
        "architectures": ["UMT5EncoderModel"],
        "model_type": "umt5",
        "vocab_size": vocabulary,
        "d_model": width,
        "d_kv": len(weights["blocks.0.attn.q.weight"]) // heads,
        "d_ff": len(weights["blocks.0.ffn.fc1.weight"]),
        "num_layers": len(layers),
        "num_heads": heads,
        "relative_attention_num_buckets": buckets,
        "relative_attention_max_distance": 128,
        "feed_forward_proj": "gated-gelu",
        "layer_norm_epsilon": 1e-6,
        "is_encoder_decoder": True,
        "tie_word_embeddings": False,
    }
