"""Names and shapes of the weights of pretrained encoders, from their `config.json` alone.

So a folder that does not fit is found, and its memory foretold, without importing transformers,
which takes seconds, and without reading weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from videogen.errors import WeightsError

Shapes = dict[str, tuple[int, ...]]
_T5_HEADS = "encoder.block.{}.layer.0.SelfAttention."
_T5_MLP = "encoder.block.{}.layer.1."


def t5_shapes(said: Mapping[str, Any], source: Path) -> Shapes:
    """The encoder of T5, or of UMT5, which has positions in every block.

    Args:
        said: the content of its `config.json`.
        source: what errors name.

    Raises:
        WeightsError: a size is missing or no number.
    """
    d, heads = _size(said, "d_model", source), _size(said, "num_heads", source)
    inner, d_ff = heads * _size(said, "d_kv", source), _size(said, "d_ff", source)
    depth = _size(said, "num_layers", source)
    buckets = _size(said, "relative_attention_num_buckets", source, 32)
    is_gated = str(said.get("feed_forward_proj", "relu")).startswith("gated-")
    shapes: Shapes = {"shared.weight": (_size(said, "vocab_size", source), d)}
    for block in range(depth):
        attention, mlp = _T5_HEADS.format(block), _T5_MLP.format(block)
        shapes |= {f"{attention}{name}.weight": (inner, d) for name in "qkv"}
        shapes[f"{attention}o.weight"] = (d, inner)
        if block == 0 or said.get("model_type") == "umt5":
            shapes[f"{attention}relative_attention_bias.weight"] = (buckets, heads)
        shapes[f"encoder.block.{block}.layer.0.layer_norm.weight"] = (d,)
        for name in ("wi_0", "wi_1") if is_gated else ("wi",):
            shapes[f"{mlp}DenseReluDense.{name}.weight"] = (d_ff, d)
        shapes[f"{mlp}DenseReluDense.wo.weight"] = (d, d_ff)
        shapes[f"{mlp}layer_norm.weight"] = (d,)
    shapes["encoder.final_layer_norm.weight"] = (d,)
    return shapes


def clip_vision_shapes(said: Mapping[str, Any], source: Path) -> Shapes:
    """CLIP's image encoder; arguments and errors as of `t5_shapes`."""
    d, d_ff = _size(said, "hidden_size", source), _size(said, "intermediate_size", source)
    patch, side = _size(said, "patch_size", source), _size(said, "image_size", source)
    shapes: Shapes = {
        "embeddings.class_embedding": (d,),
        "embeddings.patch_embedding.weight": (d, 3, patch, patch),
        "embeddings.position_embedding.weight": ((side // patch) ** 2 + 1, d),
    }
    shapes |= _layer_norm("pre_layrnorm", d) | _layer_norm("post_layernorm", d)
    for block in range(_size(said, "num_hidden_layers", source)):
        layer = f"encoder.layers.{block}"
        for name in "qkv":
            shapes |= _linear(f"{layer}.self_attn.{name}_proj", d, d)
        shapes |= _linear(f"{layer}.self_attn.out_proj", d, d)
        shapes |= _linear(f"{layer}.mlp.fc1", d, d_ff) | _linear(f"{layer}.mlp.fc2", d_ff, d)
        shapes |= _layer_norm(f"{layer}.layer_norm1", d) | _layer_norm(f"{layer}.layer_norm2", d)
    return shapes


def _linear(name: str, width: int, out_width: int) -> Shapes:
    return {f"{name}.weight": (out_width, width), f"{name}.bias": (out_width,)}


def _layer_norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _size(said: Mapping[str, Any], name: str, source: Path, default: int | None = None) -> int:
    value = said.get(name, default)
    if not isinstance(value, int) or value < 1:
        raise WeightsError(
            f"{source}: {name}: got {value!r}, expected a positive integer. "
            "Fix: download the file again."
        )
    return value
