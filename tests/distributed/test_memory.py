"""The memory of a rank falls with the degree."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.distributed import jobs
from tests.distributed.cases import Case
from tests.distributed.pool import RankPool

pytestmark = pytest.mark.distributed

DEFAULT_TOKENS = 5 * 16


@pytest.mark.parametrize("attention", ["factorized", "joint", "windowed"])
def test_activations_fall_with_the_degree(ranks: RankPool, attention: str) -> None:
    case = Case(attention=attention, num_heads=4, head_width=48, t=16, h=12, w=16)
    assert case.t * case.h * case.w >= 8 * DEFAULT_TOKENS
    (alone,) = ranks.run(jobs.forward_peak_bytes, 1, case=case)
    for degree in (2, 4):
        sharded = replace(case, seq_degree=degree)
        peaks = ranks.run(jobs.forward_peak_bytes, degree, case=sharded)
        assert max(peaks) <= 1.15 * alone / degree
