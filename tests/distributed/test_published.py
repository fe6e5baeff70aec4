"""Wan and Latte on many ranks compute what they compute on one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import videogen
from tests.distributed import published_jobs
from tests.distributed.pool import RankPool
from tests.distributed.published_jobs import HEADS, Clip, Name, forward, make_model
from tests.tiny_published import latte_pipeline, wan_pipeline
from videogen.parallel.weights import local_weight_bytes

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


ROW: dict[str, Any] = {"prompt": "a red circle", "seed": 1, "num_inference_steps": 2}
SMALL = ROW | {"height": 32, "width": 48, "num_frames": 6}
PICTURE = np.random.default_rng(0).integers(0, 256, (1, 32, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("diffusers")
    root = tmp_path_factory.mktemp("published")
    wan_pipeline(root / "wan")
    wan_pipeline(root / "wan-image", image=True)
    latte_pipeline(root / "latte")
    return root


ROWS: dict[str, list[dict[str, Any]]] = {
    "wan": [SMALL, SMALL | {"num_frames": 14, "chunk_frames": 9}],
    "wan-image": [SMALL | {"num_frames": 14, "chunk_frames": 9, "image": "start.png"}],
    "latte": [ROW, ROW | {"num_frames": 8, "chunk_frames": 4}],
}


@pytest.mark.parametrize(
    "name,degrees,weights",
    [
        ("wan", (1, 2), "sharded"),
        ("wan", (2, 2), "whole"),
        ("wan-image", (1, 2), "whole"),
        ("wan-image", (1, 4), "whole"),
        ("latte", (1, 2), "sharded"),
        ("latte", (2, 2), "whole"),
    ],
)
def test_clips_of_many_ranks_are_those_of_one(
    ranks: RankPool, folders: Path, name: str, degrees: tuple[int, int], weights: str
) -> None:
    folder, start = str(folders / name), PICTURE if name == "wan-image" else None
    alone = videogen.load(folder, device="cpu")
    whole = local_weight_bytes(alone.model.dit)
    made = [published_jobs.clip_of(alone, row, start) for row in ROWS[name]]
    job = {"folder": folder, "rows": ROWS[name], "degrees": degrees, "start": start}
    found = ranks.run(published_jobs.make_clips, degrees[0] * degrees[1], **job, weights=weights)
    for latents, _, num_bytes in found:
        for ours, (one, _) in zip(latents, made, strict=True):
            assert np.abs(ours - one).max() <= 1e-4
        assert num_bytes == whole if weights == "whole" else num_bytes < 0.6 * whole
    frames = np.concatenate([each for _, each in made])
    assert found[0][1].shape == frames.shape
    assert np.abs(found[0][1].astype(int) - frames.astype(int)).max() <= 1
    assert all(len(other) == 0 for _, other, _ in found[1:])


@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 2, 1), (1, 5, 2)])
@pytest.mark.parametrize("num_ranks", [2, 3, 4])
def test_a_shared_wan_vae_is_exact(
    ranks: RankPool, shape: tuple[int, int, int], num_ranks: int
) -> None:
    found = ranks.run(published_jobs.share_vae, num_ranks, shape=shape, seq_degree=num_ranks)
    assert found[0][0] <= 1e-4
    assert all(num_frames == 0 for num_frames, _ in found[1:])
    assert all(encoded <= 1e-4 for _, encoded in found)


def test_the_comparison_can_fail() -> None:
    clip = Clip(model="wan")
    model = make_model("wan")
    here, there = (forward(c, model, 900.0) for c in (clip, replace(clip, t=4)))
    assert np.abs((there[:, :, :3] - here).numpy()).max() > 1e-3
