"""Shares of a dim: all of it, in order, as even as they go."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from videogen.parallel.shards import Shard, divide


@given(total=st.integers(0, 200), parts=st.integers(1, 20))
def test_shares_are_whole_and_differ_by_one_at_most(total: int, parts: int) -> None:
    sizes = divide(total, parts)
    assert len(sizes) == parts
    assert sum(sizes) == total
    assert max(sizes) - min(sizes) <= 1


def test_larger_shares_come_first_and_the_last_may_be_empty() -> None:
    assert divide(7, 3) == (3, 2, 2)
    assert divide(2, 4) == (1, 1, 0, 0)


def test_shards_put_together_are_the_whole() -> None:
    x = torch.arange(14).view(2, 7)
    shards = [Shard.of(7, 3, rank).take(x, 1) for rank in range(3)]
    assert torch.equal(torch.cat(shards, dim=1), x)
    assert torch.equal(shards[1], x[:, 3:5])
