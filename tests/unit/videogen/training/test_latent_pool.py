"""The latent pool: numbered scenes in a ring, drawn as often as asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from videogen.models.weights import Model, load_model
from videogen.training.clips import numbered_scene, render_batch
from videogen.training.config import LatentPoolConfig
from videogen.training.latent_pool import LatentPool

CONFIG = LatentPoolConfig(num_frames=5, initial=48, capacity=64, fresh_per_step=16, share=1.0)


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return load_model(tiny_model)


def make_pool(model: Model, config: LatentPoolConfig = CONFIG, **options: object) -> LatentPool:
    pool = LatentPool(
        config, model.vae, model.spec.latents, worlds=("narrow",), size=32, seed=0, **options
    )  # pyright: ignore[reportArgumentType]
    pool.fill()
    return pool


def test_latents_are_those_of_the_scenes_they_come_with(model: Model) -> None:
    latents, scenes = make_pool(model).draw(4)
    expected = model.normalise(model.vae.encode(render_batch(scenes, 5, 32)))
    torch.testing.assert_close(latents, expected, atol=5e-3, rtol=5e-3)


def test_the_oldest_make_room(model: Model) -> None:
    pool = make_pool(model, replace(CONFIG, capacity=48))
    pool.refresh()
    assert len(pool) == 48
    drawn = pool.draw(400)[1]
    assert numbered_scene(0, 50, ("narrow",)) in drawn
    assert numbered_scene(0, 3, ("narrow",)) not in drawn


def test_a_restored_pool_is_the_same(model: Model, tmp_path: Path) -> None:
    pool = make_pool(model, replace(CONFIG, capacity=48))
    pool.refresh()
    pool.save(tmp_path)
    other = make_pool(model, replace(CONFIG, capacity=48, initial=0))
    other.restore(tmp_path)
    for p in (pool, other):
        torch.manual_seed(1)
        drawn = p.draw(8)
        torch.manual_seed(1)
        assert torch.equal(drawn[0], pool.draw(8)[0])
        assert drawn[1] == [scene for scene in drawn[1] if scene in pool.draw(2000)[1]]


def test_emphasis_draws_a_motion_more_often(model: Model) -> None:
    def share(**options: object) -> float:
        scenes = make_pool(model, **options).draw(2000)[1]
        return float(np.mean([scene.objects[0].motion == "grow" for scene in scenes]))

    assert share(emphasis={"grow": 9.0}) > 3 * share()
