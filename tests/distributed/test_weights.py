"""Weights divided among the ranks: the same result, and each rank keeps its share only."""

from __future__ import annotations

import numpy as np
import pytest

from tests.distributed import jobs
from tests.distributed.cases import Case, make_denoiser, make_dit, make_latents, make_sigma
from tests.distributed.pool import RankPool

pytestmark = pytest.mark.distributed


@pytest.mark.parametrize(
    ("cfg_degree", "seq_degree", "offload", "detail_depth"),
    [(1, 3, False, 0), (2, 2, False, 0), (1, 3, True, 0), (1, 3, False, 2)],
)
def test_divided_weights_change_nothing(
    ranks: RankPool, cfg_degree: int, seq_degree: int, offload: bool, detail_depth: int
) -> None:
    case = Case(
        num_heads=4,
        depth=3,
        t=3,
        cfg_degree=cfg_degree,
        seq_degree=seq_degree,
        detail_depth=detail_depth,
    )
    expected = make_denoiser(case, make_dit(case))(make_latents(case), make_sigma(case)).numpy()
    job = jobs.shard_weights_and_denoise
    for denoised, kept in ranks.run(job, case.num_ranks, case=case, offload=offload):
        np.testing.assert_allclose(denoised, expected, rtol=0, atol=1e-5)
        assert kept == pytest.approx(1 / case.num_ranks, rel=0.15)
