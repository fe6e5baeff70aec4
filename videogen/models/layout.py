"""Which tokens of a clip a DiT works on: the seam where sharding takes hold from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor, nn


@dataclass(frozen=True)
class Stream:
    """The tokens of noisy clips, and what every block needs beside them."""

    patches: Tensor
    """`b t s c`."""
    condition: Tensor
    """Timestep and pooled text of each frame, `b t d`."""
    angles: Tensor
    """RoPE angles `t s k`."""
    text: Tensor
    """`b l d`."""
    text_mask: Tensor
    """bool `b l`; True = a token."""
    mask: Tensor | None
    """Which frame sees which in attention over space and time at once, bool `t t`."""


class Layout:
    """All tokens, here. What takes its place may give a model some of them."""

    def scatter(self, stream: Stream) -> Stream:
        """The tokens to work on, given all."""
        return stream

    def token_mask(self, stream: Stream) -> Tensor | None:
        """Which token sees which, bool `(t s) (t s)`, for attention over space and time at once."""
        if stream.mask is None:
            return None
        s = stream.patches.shape[2]
        return stream.mask.repeat_interleave(s, dim=0).repeat_interleave(s, dim=1)

    def gather(self, patches: Tensor) -> Tensor:
        """All patches `b t s c`, given those worked on."""
        return patches

    def total(self, sums: Tensor) -> Tensor:
        """Sums `k` over all tokens, given those over the tokens worked on."""
        return sums


@runtime_checkable
class TokenAttention(Protocol):
    """Self-attention of tokens `b t s d`, which needs an axis of them whole."""

    axis: Literal["space", "time", "spacetime"]
    num_heads: int
    attend: Callable[..., Tensor]
    """`videogen.models.attention.attention`, or what takes its place."""


class TokenModel(Protocol):
    """A model whose tokens a layout can share out."""

    layout: Layout

    def modules(self) -> Iterator[nn.Module]:
        """Itself and all modules in it."""
        ...
