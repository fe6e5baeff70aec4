"""Where the blocks of a transformer are, of whichever kind it is."""

from __future__ import annotations

from torch import nn

NAMES = ("blocks", "transformer_blocks", "temporal_transformer_blocks")


def blocks_of(transformer: nn.Module) -> list[nn.Module]:
    """All blocks of a transformer, with those of its stages or experts."""
    found = (getattr(module, name, None) for module in transformer.modules() for name in NAMES)
    return [block for blocks in found if isinstance(blocks, nn.ModuleList) for block in blocks]
