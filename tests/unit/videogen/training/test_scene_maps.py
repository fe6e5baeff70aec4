"""What is where: maps agree with what is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from videogen.shapes.camera import CameraSpec
from videogen.shapes.render import render, render_background
from videogen.shapes.scene import ObjectSpec, Scene
from videogen.training.clips import numbered_scene
from videogen.training.scene_maps import LAYERS, NAMES, scene_maps

CELLS, FACTOR, LATENTS, SIZE = 8, 4, 5, 64
STILL = ObjectSpec("red", "circle", "still", x=0.25, y=0.75, radius=0.2)
OVER = ObjectSpec("blue", "square", "still", x=0.35, y=0.75, radius=0.2)


def maps_of(*scenes: Scene, first: int = 0) -> np.ndarray:
    return scene_maps(scenes, [first] * len(scenes), LATENTS, CELLS, FACTOR).numpy()


def layer(maps: np.ndarray, name: str) -> np.ndarray:
    return maps[..., NAMES.index(name)]


@pytest.mark.parametrize(
    "camera", [CameraSpec(), CameraSpec("pan right", 0.03), CameraSpec("zoom in", 1 / 16)]
)
@pytest.mark.parametrize("motion", ["still", "right", "grow", "orbit"])
@pytest.mark.parametrize("first", [0, 3])
def test_a_map_covers_what_the_renderer_paints(motion: str, camera: CameraSpec, first: int) -> None:
    speed = {"still": 0.0, "right": 0.03, "grow": 1 / 16, "orbit": 0.05}[motion]
    spec = ObjectSpec("red", "circle", motion, 0.3, 0.4, 0.18, speed, reach=0.1)
    scene = Scene((spec,), "black", camera)
    painted = render(scene, FACTOR * (first + LATENTS - 1) + 1, SIZE, SIZE)
    backdrop = render_background("black", SIZE, SIZE)
    share = ((painted - backdrop.astype(float))[..., 0] / (225 - 10)).clip(0, 1)
    by_cell = share.reshape(-1, CELLS, SIZE // CELLS, CELLS, SIZE // CELLS).mean(axis=(2, 4))
    starts = [max(0, FACTOR * i - FACTOR + 1) for i in range(first, first + LATENTS)]
    wanted = [
        by_cell[start : FACTOR * i + 1].mean(axis=0)
        for start, i in zip(starts, range(first, first + LATENTS), strict=True)
    ]
    (found,) = layer(maps_of(scene, first=first), "red")
    assert np.abs(found - wanted).max() < 0.2
    assert np.abs(found - wanted).mean() < 0.16 * np.mean(wanted)


def test_every_name_of_an_object_has_its_layer() -> None:
    (maps,) = maps_of(Scene((STILL,), "navy"))
    covered = maps.sum(axis=(0, 1, 2))[: len(NAMES)]
    assert {NAMES[i] for i in np.flatnonzero(covered)} == {"red", "circle", "still"}
    assert np.ptp(covered[covered > 0]) < 1e-4


def test_what_is_drawn_later_covers_what_is_below() -> None:
    (maps,) = maps_of(Scene((STILL, OVER), "navy"))
    both = layer(maps, "red") + layer(maps, "blue")
    assert both.max() <= 1 + 1e-6
    assert layer(maps, "blue")[0, 6, 2] > 0.9
    assert layer(maps, "red")[0, 6, 2] < 0.1


def test_objects_that_leave_come_in_on_the_other_side() -> None:
    spec = ObjectSpec("red", "circle", "right", x=0.9, y=0.5, radius=0.15, speed=0.02)
    (maps,) = maps_of(Scene((spec,), "navy"))
    assert layer(maps, "red")[-1, 4, 1] > 0.5 > layer(maps, "red")[0, 4, 1]


def test_maps_of_all_worlds_are_shares() -> None:
    scenes = [numbered_scene(3, i, ("wide", "pairs", "moving cameras")) for i in range(24)]
    maps = maps_of(*scenes)
    assert maps.shape == (24, LATENTS, CELLS, CELLS, len(LAYERS))
    assert maps[..., : len(NAMES)].min() >= 0 and abs(maps).max() <= 1 + 1e-6
    assert (maps.max(axis=(1, 2, 3, 4)) > 0.5).all()


def test_turns_that_look_the_same_are_the_same() -> None:
    still = ObjectSpec("red", "triangle", "still", x=0.5, y=0.5, radius=0.2)
    turned = replace(still, angle=1 / 3)
    other, round_one = replace(still, angle=1 / 6), replace(still, shape="ring")
    maps = maps_of(*(Scene((spec,), "navy") for spec in (still, turned, other, round_one)))
    assert np.abs(maps[0] - maps[1]).max() < 1e-5
    cosine, sine = layer_of_turn(maps, "cosine"), layer_of_turn(maps, "sine")
    covered = layer(maps, "triangle")[0]
    assert np.abs(cosine[0] - covered).max() < 1e-5
    assert np.abs(cosine[2] + covered).max() < 1e-5
    assert np.abs(sine[[0, 2]]).max() < 1e-5
    assert not cosine[3].any() and not sine[3].any()


def test_a_turning_object_turns_in_its_map() -> None:
    spec = ObjectSpec("red", "heart", "spin", x=0.5, y=0.5, radius=0.2, speed=0.03)
    (maps,) = maps_of(Scene((spec,), "navy"))
    cosine, sine = (layer_of_turn(maps, name)[:, 4, 4] for name in ("cosine", "sine"))
    turns = np.unwrap(np.arctan2(sine, cosine)) / (2 * np.pi)
    assert np.diff(turns[1:]) == pytest.approx(FACTOR * 0.03, abs=1e-3)


def layer_of_turn(maps: np.ndarray, name: str) -> np.ndarray:
    return maps[..., LAYERS.index(name)]
