"""Factorized attention on shards: an all-to-all before and one after the attention that needs it.

A pair of spatial and temporal attention sends 2 M/N (N-1)/N bytes a rank, M being all tokens.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from videogen.models.layout import TokenAttention
from videogen.parallel.layout import AXIS_DIMS, ShardedLayout


def install_switch(module: TokenAttention, layout: ShardedLayout) -> None:
    """Have `module`, along space or time, see its axis whole wherever the layout cuts it.

    It is called with tokens and, if it has any use for them, with their angles next.
    """
    assert isinstance(module, nn.Module)
    attends_along = AXIS_DIMS[module.axis]

    def before(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if layout.dim != attends_along:
            return None
        x, *rest = args
        if rest:
            rest[0] = layout.crossed_angles
        return layout.cross(x), *rest

    def after(_: nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        return layout.cross_back(output) if layout.dim == attends_along else None

    module.register_forward_pre_hook(before)
    module.register_forward_hook(after)
