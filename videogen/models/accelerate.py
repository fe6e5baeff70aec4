"""Loaded transformers made ready for the machine that they run on."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from videogen.models.packed import PackedLinear

AnyModule = TypeVar("AnyModule", bound=nn.Module)
BLOCKS = ("blocks", "transformer_blocks", "temporal_transformer_blocks")
"""Where transformers keep what is worth packing."""


def can_pack() -> bool:
    """Whether this build of torch has the kernels."""
    names = ("_reorder_linear_weight", "_linear_pointwise")
    return torch.backends.mkldnn.is_available() and all(
        hasattr(torch.ops.mkldnn, name) for name in names
    )


def accelerate(transformer: AnyModule) -> AnyModule:
    """Pack the linear layers in the blocks of a transformer, which is altered and returned.

    Only where that is of use: on a CPU, in float32, of weights that are not trained. It drops the
    weights as they were, so it comes after everything that changes or divides them.
    """
    if not can_pack():
        return transformer
    for name, module in list(transformer.named_modules()):
        inside = set(name.split(".")) & set(BLOCKS)
        for child, layer in list(module.named_children()):
            if inside and isinstance(layer, nn.Linear) and _is_packable(layer):
                setattr(module, child, PackedLinear(layer))
    return transformer


def _is_packable(layer: nn.Linear) -> bool:
    weight = layer.weight
    return (
        type(layer) is nn.Linear
        and type(weight.detach()) is Tensor  # and no share of weights that are divided
        and weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and not weight.requires_grad
    )
