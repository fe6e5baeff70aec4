"""A clip of the default model made by a gang is the clip that one rank makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import videogen
from tests.distributed import jobs
from tests.distributed.cases import Case
from tests.distributed.pool import RankPool
from videogen.generator import VideoGenerator
from videogen.models.variant import StepCache, Variant

pytestmark = pytest.mark.distributed

PROMPT = {"prompt": "a red circle moving right on a blue background", "seed": 11}
MIN_PSNR_DB = 60.0


@pytest.fixture(scope="module")
def alone() -> VideoGenerator:
    return videogen.load("default", device="cpu")


@pytest.fixture(scope="module")
def expected(alone: VideoGenerator) -> np.ndarray:
    return pixels(alone, alone.denoise(alone.resolve(**PROMPT)).numpy())


def pixels(generator: VideoGenerator, latents: np.ndarray) -> np.ndarray:
    frames = np.concatenate([*generator.decode(torch.from_numpy(latents))])
    return frames.astype(np.float64)


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    error = ((a - b) ** 2).mean()
    return float("inf") if error == 0 else float(10 * np.log10(255.0**2 / error))


@pytest.mark.parametrize("cfg_degree", [1, 2])
@pytest.mark.parametrize("seq_degree", [1, 2, 3, 4])
def test_the_clip_is_the_same_at_every_degree(
    ranks: RankPool,
    alone: VideoGenerator,
    expected: np.ndarray,
    seq_degree: int,
    cfg_degree: int,
) -> None:
    case = Case(cfg_degree=cfg_degree, seq_degree=seq_degree)
    made = ranks.run(jobs.make_clip, case.num_ranks, case=case, fields=PROMPT)
    first = made[0][0]
    assert all(np.array_equal(first, latents) for latents, _ in made)
    assert psnr_db(pixels(alone, first), expected) >= MIN_PSNR_DB


@pytest.mark.parametrize(
    ("fields", "num_exchanges"),
    [
        ({}, 4),
        ({"guidance_interval": (0.0, 0.5)}, 2),
        ({"guidance_rescale": 0.7}, 4),
        ({"guidance_scale": 1.0}, 0),
        ({"sampler": "heun"}, 7),
        ({"sampler": "ddpm"}, 4),
    ],
)
def test_guidance_on_two_ranks_is_that_on_one(
    ranks: RankPool, alone: VideoGenerator, fields: dict[str, Any], num_exchanges: int
) -> None:
    fields = PROMPT | {"num_inference_steps": 4} | fields
    expected = alone.denoise(alone.resolve(**fields)).numpy()
    for latents, sent in ranks.run(jobs.make_clip, 2, case=Case(cfg_degree=2), fields=fields):
        np.testing.assert_allclose(latents, expected, rtol=0, atol=1e-5)
        assert sent.get("cfg.exchange", {"calls": 0})["calls"] == num_exchanges


def test_steps_without_guidance_remember_what_one_rank_does(ranks: RankPool) -> None:
    variant = Variant(cache=StepCache("first_block", threshold=0.2))
    fields = PROMPT | {"num_frames": 5, "num_inference_steps": 24, "guidance_interval": (0.0, 0.5)}
    alone = videogen.load("default", device="cpu", variant=variant)
    expected = alone.denoise(alone.resolve(**fields)).numpy()
    case = Case(cfg_degree=2)
    for latents, _ in ranks.run(jobs.make_clip, 2, case=case, fields=fields, variant=variant):
        np.testing.assert_allclose(latents, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "sends_weights"),
    [({"overlap": True}, False), ({"weights": "sharded"}, True), ({"weights": "offloaded"}, True)],
)
def test_every_way_to_share_a_clip_gives_it(
    ranks: RankPool, alone: VideoGenerator, options: dict[str, Any], sends_weights: bool
) -> None:
    fields = PROMPT | {"num_inference_steps": 2}
    expected = alone.denoise(alone.resolve(**fields)).numpy()
    case = Case(seq_degree=2)
    # Layers are packed where their weights stay whole, and round in another order.
    for latents, sent in ranks.run(jobs.make_clip, 2, case=case, fields=fields, **options):
        np.testing.assert_allclose(latents, expected, rtol=0, atol=5e-5)
        assert ("gang.weights" in sent) == sends_weights


LONG = PROMPT | {"num_frames": 37, "num_inference_steps": 2}


@pytest.mark.parametrize(
    ("case", "options", "extension"),
    [
        (Case(cfg_degree=2, seq_degree=2), {}, "overlap"),
        (Case(seq_degree=2), {"shares": "windows"}, "windows"),
        (Case(cfg_degree=2, seq_degree=2), {"shares": "windows"}, "windows"),
    ],
)
def test_a_long_clip_is_the_same_on_many_ranks(
    ranks: RankPool,
    alone: VideoGenerator,
    case: Case,
    options: dict[str, Any],
    extension: str,
) -> None:
    fields = LONG | {"extension": extension}
    expected = alone.denoise(alone.resolve(**fields)).numpy()
    made = ranks.run(jobs.make_clip, case.num_ranks, case=case, fields=fields, **options)
    for latents, sent in made:
        np.testing.assert_allclose(latents, expected, rtol=0, atol=1e-4)
        assert np.array_equal(latents, made[0][0])
        assert ("seq.windows" in sent) == (extension == "windows")


def test_a_long_clip_goes_on_from_a_state_on_many_ranks(ranks: RankPool) -> None:
    case, fields = Case(cfg_degree=2, seq_degree=2), LONG | {"chunk_frames": 17, "num_frames": 30}
    made = ranks.run(jobs.stream_clip, case.num_ranks, case=case, fields=fields, num_done=1)
    going_on, resumed, state = made[0]
    assert going_on.shape == (30 - 17, 64, 64, 3)
    assert np.array_equal(going_on, resumed)
    assert all(other == state for *_, other in made)
