"""Attention over space and time at once on shards: Ulysses (Jacobs et al. 2309.14509), and rings.

Queries, keys and values are moved from a share of the tokens with all heads to all tokens with a
share of the heads, and the result back: 4 M/N (N-1)/N bytes a rank. Heads and tokens need not be
divisible by anything. Where there are more ranks than heads, groups of ranks do that among
themselves and form a ring, along which the keys and values of each group travel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from videogen.models.attention import attention
from videogen.parallel.communicator import Communicator, Cut
from videogen.parallel.layout import TIME, ShardedLayout
from videogen.parallel.ring import ring_attention
from videogen.parallel.shards import Shard
from videogen.parallel.windows import attention_in_windows

HEADS = 1


class SequenceAttention:
    """Takes the place of `attention` for q, k, v `b n (t s) k` of this rank's tokens."""

    def __init__(self, layout: ShardedLayout, near: Communicator, far: Communicator) -> None:
        """Trade heads for tokens among the ranks `near`, and pass keys on among those `far`."""
        self._layout, self._near, self._far = layout, near, far

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None = None,
        *,
        causal: bool = False,
        backend: str = "sdpa",
    ) -> Tensor:
        """As `videogen.models.attention.attention`; what is masked, the layout says."""
        assert mask is None and not causal, "a layout has no mask of tokens"
        heads = Shard.of(q.shape[HEADS], self._near.size, self._near.rank)
        return self._to_tokens(self._mixed(q, k, v, heads, backend), heads)

    def _mixed(self, q: Tensor, k: Tensor, v: Tensor, heads: Shard, backend: str) -> Tensor:
        # One at a time: all three at once would save two calls and take three times the memory.
        q, k, v = (self._to_heads(part, heads) for part in (q, k, v))
        layout = self._layout
        if self._far.size > 1:
            return ring_attention(self._far, q, k, v, layout.mask, self._frames(q.device))
        if layout.windows:
            return attention_in_windows(q, k, v, layout.windows, layout.whole_grid[1], backend)
        return attention(q, k, v, backend=backend)

    def _to_heads(self, x: Tensor, heads: Shard) -> Tensor:
        grid = x.unflatten(2, self._layout.grid)
        moved = self._near.all_to_all(grid, (HEADS, heads.sizes), self._tokens_cut(), "ulysses")
        return moved.flatten(2, 3)

    def _to_tokens(self, x: Tensor, heads: Shard) -> Tensor:
        dim, sizes = self._tokens_cut()
        t, s = self._layout.grid
        grid = x.unflatten(2, (sum(sizes), s) if dim == TIME + 1 else (t, sum(sizes)))
        moved = self._near.all_to_all(grid, (dim, sizes), (HEADS, heads.sizes), "ulysses")
        return moved.flatten(2, 3)

    def _tokens_cut(self) -> Cut:
        """How `b n t s k` is cut within this rank's group."""
        dim, sizes = self._layout.cut
        start = self._far.rank * self._near.size
        return dim + 1, sizes[start : start + self._near.size]

    def _frames(self, device: torch.device) -> list[Tensor]:
        """The frame of every token that each group holds."""
        dim, sizes = self._layout.cut
        t, s = self._layout.whole_grid
        frames = torch.arange(t, device=device)[:, None].expand(t, s)
        width = self._near.size
        groups = [sum(sizes[start : start + width]) for start in range(0, len(sizes), width)]
        return [block.flatten() for block in frames.split(groups, dim=dim - 1)]
