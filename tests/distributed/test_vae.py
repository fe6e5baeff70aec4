"""A VAE on ranks that are processes connected by gloo gives what it gives on one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import videogen
from tests.distributed import vae_jobs
from tests.distributed.pool import RankPool
from tests.unit.videogen.parallel.small_vaes import TOLERANCE, VAES, noise
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


@pytest.mark.parametrize("degrees", [(1, 2), (1, 3), (2, 2)])
def test_a_generator_on_ranks_gives_the_pixels_of_one(ranks: RankPool, degrees):
    latents = noise(16, 3, 8, 6)
    expected = list(videogen.load("default", device="cpu").decode(latents))
    size = degrees[0] * degrees[1]

    first, *others = ranks.run(vae_jobs.make_frames, size, degrees=degrees, latents=latents.numpy())

    assert [chunk.shape for chunk in first] == [chunk.shape for chunk in expected]
    differences = [np.abs(a.astype(int) - b) for a, b in zip(first, expected, strict=True)]
    assert max(each.max() for each in differences) <= 1  # where rounding was on the edge
    assert sum((each > 0).mean() for each in differences) < 1e-4
    assert all(chunk.shape == (0, 64, 48, 3) for other in others for chunk in other)
