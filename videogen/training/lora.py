"""Low-rank adapters beside the linear layers of a transformer's blocks (Hu et al. 2106.09685)."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

PREFIX = "transformer."
"""What the keys of adapters of a transformer start with in diffusers' files."""


class LoRALinear(nn.Module):
    """`x -> base(x) + x A^T B^T`, with A `rank in`, B `out rank`; B starts at zero."""

    def __init__(self, base: nn.Linear, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        bound = base.in_features**-0.5
        down = torch.rand(rank, base.in_features, generator=generator) * 2 * bound - bound
        self.lora_A = nn.Parameter(down.to(base.weight.device))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank).to(self.lora_A))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + x @ self.lora_A.T @ self.lora_B.T


def add_lora(dit: nn.Module, rank: int, seed: int = 0) -> None:
    """Freeze a transformer and put an adapter beside every linear layer of its blocks, in place."""
    dit.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for path, module in list(dit.named_modules()):
        if isinstance(module, nn.Linear) and "blocks." in path:
            parent, _, name = path.rpartition(".")
            setattr(dit.get_submodule(parent), name, LoRALinear(module, rank, generator))


def save_lora(tensors: dict[str, Tensor], path: Path) -> None:
    """Write adapters with the keys and the scale (1) of PEFT and diffusers.

    Args:
        tensors: by the names of the parameters of a transformer with `LoRALinear` layers.
    """
    named = {
        f"{PREFIX}{name}.weight": tensor.contiguous()
        for name, tensor in tensors.items()
        if name.endswith((".lora_A", ".lora_B"))
    }
    partial = path.with_name(f"{path.name}.partial")
    save_file(named, partial)
    partial.chmod(0o644)  # safetensors from 0.8 on lets nobody else read what it writes
    partial.replace(path)
