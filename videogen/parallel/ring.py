"""Ring attention (Liu et al. 2310.01889): keys and values travel, queries stay where they are.

Each rank attends to one block of keys at a time. Blocks are joined by the logarithm of their sum of
exponentials, so the result is softmax over all keys, exactly; the next block arrives meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from videogen.parallel.communicator import Communicator

Partial = tuple[Tensor, Tensor]
"""Attention to some of the keys, `b n q k` float32, and the log of its sum, `b n q 1`."""
_HALF = (torch.float16, torch.bfloat16)
_MAX_SCORES = 2**25
"""Scores held at once where no kernel does without."""


def ring_attention(
    ring: Communicator,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    frames: Sequence[Tensor],
) -> Tensor:
    """Attend to the keys of all ranks of a ring.

    Args:
        q: this rank's queries `b n q k`.
        k: its keys.
        v: its values.
        mask: which frame sees which, bool `t t`; True = attend.
        frames: the frame of every token, for each rank.
    """
    rows = None if mask is None else mask[frames[ring.rank]]
    held = torch.stack([k, v])
    whole = q.new_zeros(q.shape, dtype=torch.float32), _nothing(q)
    for hop in range(ring.size):
        source = (ring.rank - hop) % ring.size
        arriving, wait = _pass_on(ring, held, len(frames[(source - 1) % ring.size]), hop)
        seen = None if rows is None else rows[:, frames[source]]
        if held.shape[-2] and q.numel():
            whole = join(whole, attend_partially(q, held[0], held[1], seen))
        wait()
        held = arriving
    return whole[0].to(q.dtype)


def attend_partially(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Partial:
    """Attention `b n q k` to these keys alone, in float32, and the log of its sum.

    Args:
        mask: bool `q k`; a query that sees none of these keys gets zeros and minus infinity.
    """
    if q.is_cuda and mask is None and q.dtype in _HALF and q.shape[-1] % 8 == 0:
        out, log_sum, *_ = torch.ops.aten._scaled_dot_product_flash_attention(q, k, v)
        return out.float(), log_sum.float()[..., None]
    b, n, num_queries, _ = q.shape
    rows = max(1, _MAX_SCORES // max(1, b * n * k.shape[-2]))
    parts = [
        _written_out(q[:, :, i : i + rows], k, v, None if mask is None else mask[i : i + rows])
        for i in range(0, num_queries, rows)
    ]
    return torch.cat([out for out, _ in parts], 2), torch.cat([total for _, total in parts], 2)


def join(one: Partial, other: Partial) -> Partial:
    """Attention to the keys of both."""
    log_sum = torch.logaddexp(one[1], other[1])
    out = one[0] * _share(one[1], log_sum) + other[0] * _share(other[1], log_sum)
    return out, log_sum


def _share(log_part: Tensor, log_sum: Tensor) -> Tensor:
    """`exp(log_part - log_sum)`, 0 where both are 0."""
    return torch.where(log_part.isneginf(), 0.0, (log_part - log_sum).exp())


def _written_out(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Partial:
    scores = (q @ k.transpose(-1, -2)).float() / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    log_sum = scores.logsumexp(-1, keepdim=True)
    weights = torch.where(log_sum.isneginf(), 0.0, (scores - log_sum).exp())
    return weights @ v.float(), log_sum


def _nothing(q: Tensor) -> Tensor:
    return q.new_full((*q.shape[:-1], 1), -math.inf, dtype=torch.float32)


def _pass_on(
    ring: Communicator, held: Tensor, num_arriving: int, hop: int
) -> tuple[Tensor, Callable[[], None]]:
    """Start handing on what is held and taking what comes; nothing after the last hop."""
    if hop == ring.size - 1:
        return held, lambda: None
    arriving = held.new_empty(*held.shape[:-2], num_arriving, held.shape[-1])
    right, left = (ring.rank + 1) % ring.size, (ring.rank - 1) % ring.size
    wait = ring.start_exchange([(held, right)], [(arriving, left)], "ring")
    return arriving, wait
