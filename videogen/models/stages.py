"""What the stages of a DiT have in common: blocks one after the other, and what reads them out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from videogen.models.kv_cache import Past
from videogen.models.layout import Stream

Observe = Callable[[int, Tensor], None]
"""Told the number of every block and its tokens, `b t s d`."""


def through(
    blocks: Iterable[nn.Module],
    x: Tensor,
    stream: Stream,
    mask: Tensor | None,
    pasts: Sequence[Past] | None = None,
    observe: Observe | None = None,
) -> Tensor:
    """Tokens `b t s d` behind all blocks.

    Args:
        mask: which token sees which, bool `(t s) (t s)`.
        pasts: what the temporal attention of each block has seen before.
    """
    for index, block in enumerate(blocks):
        past = None if pasts is None else pasts[index]
        x = block(x, stream.condition, stream.text, stream.text_mask, stream.angles, mask, past)
        if observe is not None:
            observe(index, x)
    return x


def read_out(x: Tensor, condition: Tensor, modulation: nn.Linear, head: nn.Linear) -> Tensor:
    """Tokens `b t s d` to patches `b t s c` by adaLN and a linear layer, zero at first."""
    shift, scale = modulation(condition)[:, :, None].chunk(2, dim=-1)
    return head(F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift)


def zero(*layers: nn.Linear) -> None:
    """Start layers at zero."""
    for layer in layers:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
