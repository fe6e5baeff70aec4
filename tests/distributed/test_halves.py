"""Overlapped halves of guidance: the same bits, the same traffic, and errors that come out."""

from __future__ import annotations

import pytest

from tests.distributed import jobs
from tests.distributed.cases import Case
from tests.distributed.pool import RankPool

pytestmark = pytest.mark.distributed


@pytest.mark.parametrize("attention", ["factorized", "joint"])
def test_overlapping_changes_no_bit(ranks: RankPool, attention: str) -> None:
    case = Case(attention=attention, num_heads=4, depth=3, t=4, h=3, w=3, seq_degree=3)
    for is_same, before, after in ranks.run(jobs.denoise_overlapped, 3, case=case):
        assert is_same
        assert {key: (one["calls"], one["bytes"]) for key, one in before.items()} == {
            key: (one["calls"], one["bytes"]) for key, one in after.items()
        }


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_in_either_half_comes_out(ranks: RankPool, failing: int) -> None:
    assert ranks.run(jobs.fail_overlapped, 2, failing=failing) == [f"half {failing}"] * 2
