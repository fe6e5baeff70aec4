"""`torch.compile` of a transformer, block by block: one kind of block is compiled once.

Sizes stay symbols, so clips of other lengths and resolutions need no compiling again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from videogen.models.block_lists import blocks_of
from videogen.models.variant import Compile


def compile_blocks(dit: nn.Module, how: Compile, backend: str | Any = "inductor") -> None:
    """Have the blocks of a transformer compiled when they are first called; altered in place.

    Args:
        how: "blocks" compiles for any size. "cuda_graphs" also records the kernels of each size
            and plays them back, which saves launching them where shapes repeat; each new size is
            compiled and recorded.
        backend: of `torch.compile`.
    """
    for module in dit.modules():
        prompts = getattr(module, "prompts", None)
        if prompts is not None:
            prompts.keeps = False  # what is kept in a dictionary would break graphs
    for block in blocks_of(dit):
        _compile(getattr(block, "inner", block), how, backend)
    if how == "cuda_graphs":
        dit.register_forward_pre_hook(_new_step)


def _compile(block: nn.Module, how: Compile, backend: str | Any) -> None:
    if how == "blocks":
        block.compile(backend=backend, dynamic=True)
    else:
        block.compile(mode="reduce-overhead", dynamic=False)


def _new_step(module: nn.Module, args: Any) -> None:
    torch.compiler.cudagraph_mark_step_begin()
