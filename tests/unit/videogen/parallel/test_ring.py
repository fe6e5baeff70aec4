"""Attention to blocks of keys, joined, is attention to all keys."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from videogen.models.attention import attention
from videogen.parallel import ring
from videogen.parallel.ring import attend_partially, join


def tensors(num_queries: int = 5, num_keys: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 3, length, 8) for length in (num_queries, num_keys, num_keys)]
    q, k, v = (4 * torch.randn(shape, generator=generator) for shape in shapes)
    return q, k, v


def in_blocks(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, cuts: list[int]) -> Tensor:
    whole = q.new_zeros(q.shape), q.new_full((*q.shape[:-1], 1), -math.inf)
    for start, stop in pairwise(cuts):
        seen = None if mask is None else mask[:, start:stop]
        part = attend_partially(q, k[:, :, start:stop], v[:, :, start:stop], seen)
        whole = join(whole, part)
    return whole[0]


@pytest.mark.parametrize("cuts", [[0, 9], [0, 4, 9], [0, 1, 2, 9]])
@pytest.mark.parametrize("is_masked", [False, True])
def test_blocks_joined_are_the_whole(cuts: list[int], is_masked: bool) -> None:
    q, k, v = tensors()
    mask = torch.rand(5, 9, generator=torch.Generator().manual_seed(1)) < 0.4
    mask[2] = False
    mask[3, 4:] = False
    seen = mask if is_masked else None
    torch.testing.assert_close(in_blocks(q, k, v, seen, cuts), attention(q, k, v, seen))


def test_a_query_without_keys_in_a_block_is_left_as_it_is() -> None:
    q, k, v = tensors()
    out, log_sum = attend_partially(q, k, v, torch.zeros(5, 9, dtype=torch.bool))
    assert not out.any()
    assert log_sum.isneginf().all()
    one = attend_partially(q, k, v, None)
    assert all(map(torch.equal, join(one, (out, log_sum)), one))


def test_queries_a_few_at_a_time_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = tensors()
    mask = torch.ones(5, 9).tril(3).bool()
    at_once = attend_partially(q, k, v, mask)
    monkeypatch.setattr(ring, "_MAX_SCORES", 2 * 3 * 9 * 2)
    for part, whole in zip(attend_partially(q, k, v, mask), at_once, strict=True):
        torch.testing.assert_close(part, whole)
