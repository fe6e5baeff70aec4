"""Ranks that share tokens leave out the same blocks in the same steps."""

from __future__ import annotations

import numpy as np
import pytest

from tests.distributed import step_cache_jobs
from tests.distributed.pool import RankPool
from tests.distributed.published_jobs import Clip, Name
from tests.distributed.step_cache_jobs import TIMESTEPS, steps
from videogen.models.variant import StepCache

pytestmark = pytest.mark.distributed
FIRST = StepCache("first_block", threshold=0.6, start=0.0)
PYRAMID = StepCache("pyramid", ranges=(2, 3, 4), start=0.0)


@pytest.mark.parametrize(
    ("name", "cache"),
    [("wan", FIRST), ("wan-experts", FIRST), ("latte", FIRST), ("latte", PYRAMID)],
)
def test_any_degree_decides_as_one_rank(ranks: RankPool, name: Name, cache: StepCache) -> None:
    clip = Clip(model=name, t=3, h=2, w=3, seq_degree=3)
    expected, computed = steps(clip, cache)
    if cache is FIRST and name != "wan-experts":
        assert 1 < computed < len(TIMESTEPS)
    for found, times in ranks.run(step_cache_jobs.run, 3, clip=clip, cache=cache):
        assert times == computed
        for ours, one in zip(found, expected, strict=True):
            assert np.abs(ours - one).max() <= 1e-4 * np.abs(one).max()
