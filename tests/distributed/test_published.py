"""Wan and Latte on many ranks compute what they compute on one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import videogen
from tests.distributed import published_jobs
from tests.distributed.pool import RankPool
from tests.distributed.published_jobs import HEADS, Clip, Name, forward, make_model
from tests.tiny_published import wan_pipeline

pytestmark = pytest.mark.distributed

TOLERANCE = 1e-5
SIZES = [(3, 2, 3), (1, 3, 3), (7, 1, 2), (5, 1, 1)]
FLOAT_BYTES = 4


@pytest.mark.parametrize("name", get_args(Name))
@pytest.mark.parametrize("seq_degree", [2, 3, 4])
def test_any_degree_is_one_rank(ranks: RankPool, name: Name, seq_degree: int) -> None:
    model = make_model(name)
    for t, h, w in SIZES:
        clip = Clip(model=name, t=t, h=h, w=w, batch=1 + t % 2, seq_degree=seq_degree)
        expected = [forward(clip, model, timestep).numpy() for timestep in (900.0, 100.0)]
        assert min(np.abs(one).max() for one in expected) > 0.1
        for found in ranks.run(published_jobs.run, seq_degree, clip=clip):
            for ours, one in zip(found, expected, strict=True):
                assert np.abs(ours - one).max() <= TOLERANCE * np.abs(one).max()


def test_latte_sends_two_shares_of_all_tokens_a_pair(ranks: RankPool) -> None:
    """Dynamic sequence parallelism: 2 M/N (N-1)/N bytes a rank for both attentions of a pair."""
    clip = Clip(model="latte", t=4, h=2, w=4, seq_degree=4)
    all_tokens = clip.t * clip.h * clip.w * HEADS * 8 * FLOAT_BYTES
    for sent in ranks.run(published_jobs.traffic, 4, clip=clip):
        assert sent["seq.switch"]["bytes"] == 2 * 2 * all_tokens * 3 // 4**2
        assert set(sent) == {"seq.switch", "seq.gather"}


def test_wan_trades_heads_for_tokens(ranks: RankPool) -> None:
    clip = Clip(model="wan", t=4, h=3, w=3, seq_degree=3)
    all_tokens = clip.t * clip.h * clip.w * HEADS * 8 * FLOAT_BYTES
    for sent in ranks.run(published_jobs.traffic, 3, clip=clip):
        assert sent["seq.ulysses"]["bytes"] == 2 * 4 * all_tokens * 2 // 3**2
        assert set(sent) == {"seq.ulysses", "seq.gather"}


def test_a_clip_of_two_ranks_is_that_of_one(ranks: RankPool, tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    folder = tmp_path / "tiny-wan"
    wan_pipeline(folder)
    fields = {"prompt": "a red circle", "seed": 1, "num_frames": 6, "num_inference_steps": 2}
    fields |= {"height": 32, "width": 48}
    alone = videogen.load(folder, device="cpu")
    latents = alone.denoise(alone.resolve(**fields))
    expected = np.concatenate(list(alone.decode(latents)))
    first, second = ranks.run(published_jobs.make_clip, 2, folder=str(folder), fields=fields)
    for made, _ in (first, second):
        assert np.abs(made - latents.numpy()).max() <= 1e-4
    assert first[1].shape == expected.shape
    assert np.abs(first[1].astype(int) - expected.astype(int)).max() <= 1
    assert second[1].shape == (0, 32, 48, 3)


def test_the_comparison_can_fail() -> None:
    clip = Clip(model="wan")
    model = make_model("wan")
    here, there = (forward(c, model, 900.0) for c in (clip, replace(clip, t=4)))
    assert np.abs((there[:, :, :3] - here).numpy()).max() > 1e-3
