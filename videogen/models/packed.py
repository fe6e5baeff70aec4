"""Linear layers for a CPU: weights packed once, for oneDNN's kernels.

`nn.Linear` multiplies through MKL, which packs the weights anew in every call and on some CPUs
takes slower instructions than the CPU has. The packed product also applies the GELU behind it,
which saves a pass over the widest tensor of a block.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

Gelu = Literal["tanh", "none"]
"""How a GELU is computed: by its approximation, or exactly."""


class PackedLinear(nn.Module):
    """An `nn.Linear` for inference on a CPU in float32; it can be neither saved nor trained."""

    def __init__(self, layer: nn.Linear) -> None:
        """Take over the weights of `layer`."""
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None)
        self.bias = None if layer.bias is None else layer.bias.detach()

    def forward(self, x: Tensor, gelu: Gelu | None = None) -> Tensor:
        """Of `... in_features`; with `gelu`, followed by one."""
        kind = ("none", "") if gelu is None else ("gelu", gelu)
        if x.numel() == 0:  # a rank without tokens
            return x.new_empty(*x.shape[:-1], self.out_features)
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, kind[0], [], kind[1])

    def __deepcopy__(self, memo: dict[int, Any]) -> PackedLinear:
        return self  # nothing in it ever changes
