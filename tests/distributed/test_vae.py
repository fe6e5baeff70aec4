"""A VAE on ranks that are processes connected by gloo gives what it gives on one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.distributed import vae_jobs
from tests.distributed.pool import RankPool
from tests.unit.videogen.parallel.small_vaes import TOLERANCE, VAES
from videogen.parallel.planner_work import halo_bytes

pytestmark = pytest.mark.distributed

DEGREES = [(cfg, seq) for cfg in (1, 2) for seq in (1, 2, 3, 4)]
SHAPES = st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 9))


@settings(max_examples=200)
@given(degrees=st.sampled_from(DEGREES), fold=st.sampled_from([2, 4]), shape=SHAPES)
def test_decoding_is_that_of_one_rank(ranks: RankPool, degrees, fold, shape):
    size = degrees[0] * degrees[1]
    first, *others = ranks.run(vae_jobs.decode, size, degrees=degrees, fold=fold, shape=shape)

    assert first.difference <= TOLERANCE
    assert first.frames == [1, *[4] * (shape[0] - 1)]
    assert all(other.frames == [0] * shape[0] for other in others)


@settings(max_examples=40)
@given(degrees=st.sampled_from(DEGREES), fold=st.sampled_from([2, 4]), shape=SHAPES)
def test_encoding_is_that_of_one_rank(ranks: RankPool, degrees, fold, shape):
    size = degrees[0] * degrees[1]

    found = ranks.run(vae_jobs.encode, size, degrees=degrees, fold=fold, shape=shape)

    assert max(found) <= TOLERANCE


def test_borders_are_all_that_is_sent_and_as_much_as_planned(ranks: RankPool):
    degrees, shape = (1, 3), (3, 7, 2)
    found = ranks.run(vae_jobs.decode, 3, degrees=degrees, fold=2, shape=shape)

    planned = halo_bytes(VAES[2].config, 9, 7 * 8, 2 * 8, degree=3)
    assert [one.traffic["gang.halo"]["bytes"] for one in found] == [planned, 2 * planned, planned]
    pixels = 9 * 2 * 8 * 2 * 8  # of the second and third rank: 9 frames, 2 of 7 latent rows
    sent = [one.traffic.get("gang.gather", {"bytes": 0})["bytes"] for one in found]
    assert sent == [0, 3 * 4 * pixels, 3 * 4 * pixels]
