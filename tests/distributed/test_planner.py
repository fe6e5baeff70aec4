"""Operations, bytes and memory that the planner foresees are those of real ranks."""

from __future__ import annotations

import dataclasses

import pytest

from tests.distributed import planner_jobs
from tests.distributed.pool import RankPool
from tests.unit.videogen.parallel.test_planner_work import demand
from videogen.parallel import planner_work as work
from videogen.parallel.planner_work import Degrees

pytestmark = pytest.mark.distributed


@pytest.mark.parametrize("attention", ["factorized", "joint"])
@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_the_busiest_rank_does_what_is_planned(ranks: RankPool, attention: str, degree: int):
    clip = demand(attention=attention, num_frames=33, height=192, width=192)
    clip = dataclasses.replace(clip, dit=dataclasses.replace(clip.dit, width=256))
    degrees = Degrees(1, degree, degree)

    done = ranks.run(planner_jobs.forward, degree, demand=clip, degree=degree)

    assert max(one.flops for one in done) == pytest.approx(work.rank_flops(clip, degrees), rel=0.02)
    sent = max(one.sent_bytes for one in done)  # ranks with larger shares send a little more
    assert sent == pytest.approx(work.forward_bytes(clip, degrees), rel=0.1)
    held = max(one.peak_bytes for one in done)
    assert (
        0.95 * held <= work.denoise_bytes(clip, degrees) <= 1.5 * held
    )  # it leaves room for the solver
