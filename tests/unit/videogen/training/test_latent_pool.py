"""The latent pool: numbered scenes in a ring, drawn as often as asked."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from videogen.errors import ConfigError
from videogen.extension.plan import LOOP_LATENTS
from videogen.models.vae import VideoVAE
from videogen.models.weights import Model, load_model
from videogen.shapes.motion import StartsOver
from videogen.shapes.render import render
from videogen.training.clips import as_pixels, numbered_scene, render_batch, render_round
from videogen.training.config import LatentPoolConfig
from videogen.training.latent_pool import LatentPool
from videogen.training.windows import AHEAD, Batch

CONFIG = LatentPoolConfig(num_frames=5, initial=48, capacity=64, fresh_per_step=16, share=1.0)


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return load_model(tiny_model)


def make_pool(model: Model, config: LatentPoolConfig = CONFIG, **options: object) -> LatentPool:
    pool = LatentPool(
        config, model.vae, model.spec.latents, worlds=("narrow",), size=32, seed=0, **options
    )  # pyright: ignore[reportArgumentType]
    pool.hold(0)
    return pool


def draw(pool: LatentPool, count: int) -> Batch:
    return pool.draw(count, torch.Generator().manual_seed(1))


def test_latents_are_those_of_the_scenes_they_come_with(model: Model) -> None:
    batch = draw(make_pool(model), 4)
    expected = model.normalise(model.vae.encode(render_batch(batch.scenes, 5, 32)))
    torch.testing.assert_close(batch.latents, expected, atol=5e-3, rtol=5e-3)
    assert not batch.known.any()


def test_the_oldest_make_room(model: Model) -> None:
    pool = make_pool(model, replace(CONFIG, capacity=48))
    pool.hold(1)
    assert len(pool) == 48
    drawn = draw(pool, 400).scenes
    assert numbered_scene(0, 50, ("narrow",)) in drawn
    assert numbered_scene(0, 3, ("narrow",)) not in drawn


def test_a_restored_pool_encodes_what_it_lacks_alone(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make_pool(model, replace(CONFIG, capacity=48))
    pool.hold(1)
    pool.save(tmp_path)
    pool.hold(2)
    other = LatentPool(
        pool.config, model.vae, model.spec.latents, worlds=("narrow",), size=32, seed=0
    )
    other.restore(tmp_path)
    encoded: list[int] = []
    keep = LatentPool._encoded

    def counting(self: LatentPool, indices: Sequence[int]) -> torch.Tensor:
        encoded.extend(indices)
        return keep(self, indices)

    monkeypatch.setattr(LatentPool, "_encoded", counting)
    other.hold(2)
    assert encoded == list(range(64, 80))
    assert torch.equal(draw(other, 8).latents, draw(pool, 8).latents)
    assert draw(other, 2000).scenes == draw(pool, 2000).scenes


def test_latents_of_other_scenes_or_another_vae_are_not_restored(
    model: Model, tmp_path: Path
) -> None:
    make_pool(model).save(tmp_path)
    before = {"worlds": ("narrow",), "seed": 0}

    def restored(vae: VideoVAE = model.vae, **changed: object) -> int:
        options = {**before, **changed}
        pool = LatentPool(CONFIG, vae, model.spec.latents, size=32, **options)  # pyright: ignore[reportArgumentType]
        pool.restore(tmp_path)
        return len(pool._slots)

    other = copy.deepcopy(model.vae)
    next(other.parameters()).data[0] += 1.0
    assert restored() == 48
    assert restored(seed=1) == restored(worlds=("narrow", "wide")) == restored(other) == 0


@pytest.mark.parametrize(
    "wrong,said",
    [
        ({"num_frames": 6}, "num_frames: got 6"),
        ({"kind": "continued", "window_frames": 3}, "window_frames: got 3"),
        ({"kind": "continued", "window_frames": 1}, "windows of 1 latent frames"),
        ({"kind": "looped", "num_frames": 13, "window_frames": 9}, "windows of 3 latent frames"),
    ],
)
def test_windows_too_short_for_their_pool_are_refused(
    model: Model, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        make_pool(model, replace(CONFIG, **wrong))


def test_emphasis_draws_a_motion_more_often(model: Model) -> None:
    def share(**options: object) -> float:
        scenes = draw(make_pool(model, **options), 2000).scenes
        return float(np.mean([scene.objects[0].motion == "grow" for scene in scenes]))

    assert share(emphasis={"grow": 9.0}) > 3 * share()


def test_windows_go_on_from_known_frames(model: Model) -> None:
    config = replace(CONFIG, kind="continued", num_frames=17, window_frames=9, initial=4)
    pool = make_pool(model, config)
    batch = draw(pool, 200)
    whole = model.normalise(model.vae.encode(render_batch(batch.scenes, 17, 32)))
    firsts = []
    for window, clip in zip(batch.latents, whole, strict=True):
        errors = [float((window - clip[:, i : i + 3]).abs().max()) for i in range(3)]
        assert min(errors) < 0.01
        firsts.append(int(np.argmin(errors)))
    counts = batch.known.sum(dim=1)
    assert set(firsts) == {0, 1, 2}
    assert {int(n) for n, first in zip(counts, firsts, strict=True) if first} == {1, 2}
    assert 0 in {int(n) for n, first in zip(counts, firsts, strict=True) if not first}
    assert all(k.tolist() == sorted(k.tolist(), reverse=True) for k in batch.known)


def test_looped_windows_know_both_of_their_ends(model: Model) -> None:
    config = replace(CONFIG, kind="looped", num_frames=45, window_frames=33, initial=2)
    batch = draw(make_pool(model, config), 40)
    assert batch.latents.shape[2] == 9
    assert AHEAD == LOOP_LATENTS
    assert batch.known[:, -2:].all()
    assert not batch.known[:, 4:7].any()
    assert {int(n) for n in batch.known[:, :4].sum(dim=1)} == {1, 2, 3, 4}


def test_rounds_lead_back_to_their_start() -> None:
    scenes = [numbered_scene(0, index, ("narrow",)) for index in range(12)]
    rounds = [StartsOver(at=60 + 4 * index, over=12) for index in range(12)]
    clips = render_round(scenes, 45, 64, rounds=rounds, after=8)
    begin = render_batch(scenes, 9, 64)
    torch.testing.assert_close(clips[:, :, -9:], begin, atol=0.02, rtol=0)
    going_on = torch.stack(
        [
            as_pixels(render(scene, 24, start_frame=turn.at - 36))
            for scene, turn in zip(scenes, rounds, strict=True)
        ]
    )
    torch.testing.assert_close(clips[:, :, :24], going_on, atol=0.02, rtol=0)
    steps = clips[:, :, 1:] - clips[:, :, :-1]
    assert steps.abs().mean(dim=(1, 3, 4)).max() < 0.15, "no jump on the way"
