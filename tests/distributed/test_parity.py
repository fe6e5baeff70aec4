"""A DiT on many ranks computes what it computes on one, whatever the sizes and the degrees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.distributed import jobs
from tests.distributed.cases import Case, make_denoiser, make_dit, make_latents, make_sigma
from tests.distributed.pool import RankPool

pytestmark = pytest.mark.distributed

TOLERANCE = 1e-5
NUM_SHAPES = 240


def cases() -> st.SearchStrategy[Case]:
    return st.builds(
        Case,
        attention=st.sampled_from(["factorized", "joint", "windowed"]),
        causal=st.booleans(),
        window=st.integers(0, 3),
        num_heads=st.integers(1, 5),
        batch=st.integers(1, 2),
        t=st.integers(1, 7),
        h=st.integers(1, 4),
        w=st.integers(1, 4),
        per_frame=st.booleans(),
        first_frame=st.integers(0, 9),
        cfg_degree=st.integers(1, 2),
        seq_degree=st.integers(1, 4),
    )


def largest_difference(ranks: RankPool, case: Case) -> float:
    """Of all ranks, against one."""
    expected = make_denoiser(case, make_dit(case))(make_latents(case), make_sigma(case)).numpy()
    found = ranks.run(jobs.denoise, case.num_ranks, case=case)
    assert np.abs(expected).max() > 0.1
    return max(float(np.abs(one - expected).max()) for one in found)


@settings(max_examples=NUM_SHAPES)
@given(case=cases())
def test_any_shape_at_any_degree_is_that_of_one_rank(ranks: RankPool, case: Case) -> None:
    assert largest_difference(ranks, case) <= TOLERANCE


@pytest.mark.parametrize("seq_degree", [1, 2, 3])
@pytest.mark.parametrize("attention", ["factorized", "joint", "windowed"])
def test_a_stage_at_single_cells_is_shared_as_well(
    ranks: RankPool, attention: str, seq_degree: int
) -> None:
    case = Case(attention=attention, t=5, h=6, w=4, patch=2, detail_depth=2, seq_degree=seq_degree)
    assert largest_difference(ranks, case) <= TOLERANCE


@pytest.mark.parametrize("cfg_degree", [1, 2])
@pytest.mark.parametrize("seq_degree", [1, 2, 3, 4])
@pytest.mark.parametrize("attention", ["factorized", "joint", "windowed"])
def test_every_degree_of_every_kind_of_attention(
    ranks: RankPool, attention: str, seq_degree: int, cfg_degree: int
) -> None:
    case = Case(attention=attention, num_heads=3, t=5, h=3, w=3, seq_degree=seq_degree)
    assert largest_difference(ranks, replace(case, cfg_degree=cfg_degree)) <= TOLERANCE


@pytest.mark.parametrize("ulysses_degree", [1, 2, 4])
@pytest.mark.parametrize("num_heads", [4, 5])
@pytest.mark.parametrize("attention", ["joint", "windowed"])
def test_rings_and_groups_of_any_width(
    ranks: RankPool, attention: str, num_heads: int, ulysses_degree: int
) -> None:
    case = Case(attention=attention, num_heads=num_heads, t=3, h=1, w=5, seq_degree=4)
    assert largest_difference(ranks, replace(case, ulysses_degree=ulysses_degree)) <= TOLERANCE
