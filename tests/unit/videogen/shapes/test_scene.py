"""Scenes are reproducible, stay in the picture, and never train on what is held out."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from videogen.shapes.motion import DIRECTIONS, trajectory
from videogen.shapes.scene import (
    PACE_FRAMES,
    ObjectSpec,
    held_out_combinations,
    is_held_out,
    sample_scene,
)
from videogen.shapes.vocabulary import (
    BACKGROUNDS,
    CAMERAS,
    COLOUR_RGB,
    COLOURS,
    GRADIENTS,
    MOTIONS,
    PLAIN_BACKGROUND_RGB,
    SHAPES,
    WORLDS,
)

WORLD_NAMES = ("narrow", "wide")


def test_worlds_are_as_wide_as_promised():
    narrow, wide = WORLDS["narrow"], WORLDS["wide"]
    assert (len(narrow.colours), narrow.shapes) == (8, ("circle", "square", "triangle", "ring"))
    assert narrow.motions == ("left", "right", "up", "down", "still", "grow", "shrink")
    assert narrow.two_object_share == 0
    assert (wide.colours, wide.motions, wide.cameras) == (COLOURS, MOTIONS, CAMERAS)
    assert set(wide.shapes) == set(SHAPES) - {"star"}
    assert wide.backgrounds == BACKGROUNDS
    assert len(COLOURS) >= 10
    assert len(SHAPES) >= 6
    assert len(MOTIONS) >= 14
    assert len(PLAIN_BACKGROUND_RGB) >= 4
    assert len(GRADIENTS) >= 3


def test_object_colours_are_far_from_each_other_and_from_every_background():
    colours = np.array(list(COLOUR_RGB.values()), float)
    gaps = np.linalg.norm(colours[:, None] - colours, axis=-1)
    assert gaps[~np.eye(len(colours), dtype=bool)].min() > 80
    ends = [np.array((g.start, g.end), float) for g in GRADIENTS.values()]
    blends = np.concatenate([np.linspace(start, end, 20) for start, end in ends])
    behind = np.concatenate((np.array(list(PLAIN_BACKGROUND_RGB.values()), float), blends))
    assert np.linalg.norm(colours[:, None] - behind, axis=-1).min() > 60


@pytest.mark.parametrize("world", WORLD_NAMES)
def test_the_seed_decides_the_scene(world):
    first, second, again = (
        sample_scene(np.random.default_rng(seed), WORLDS[world]) for seed in (1, 2, 1)
    )
    assert first == again
    assert first != second


def test_the_held_out_rule_never_changes():
    # Checkpoints are trained against this rule: these answers are part of the format.
    assert is_held_out("red", "circle", "left")
    assert not is_held_out("red", "circle", "right")
    assert is_held_out("yellow", "square", "right")
    assert is_held_out("cyan", "ring", "right")
    assert is_held_out("pink", "circle", "left")
    assert is_held_out("white", "square", "left")
    assert not is_held_out("white", "square", "grow")


@pytest.mark.parametrize("world", WORLD_NAMES)
def test_one_combination_in_eight_is_held_out_and_every_name_is_trained(world):
    everything = set(WORLDS[world].combinations())
    held_out = set(held_out_combinations(WORLDS[world]))
    assert held_out < everything
    assert len(held_out) / len(everything) == pytest.approx(0.125, abs=0.005)
    for place, names in enumerate(
        (WORLDS[world].colours, WORLDS[world].shapes, WORLDS[world].motions)
    ):
        trained = Counter(combination[place] for combination in everything - held_out)
        unseen = Counter(combination[place] for combination in held_out)
        assert set(trained) == set(names)
        assert all(trained[name] > unseen[name] for name in names)


@pytest.mark.parametrize("world", WORLD_NAMES)
@pytest.mark.parametrize(
    ("split", "allowed"), [("train", {False}), ("held_out", {True}), ("all", {False, True})]
)
def test_every_object_belongs_to_its_split(world, split, allowed):
    rng = np.random.default_rng(3)
    scenes = [sample_scene(rng, WORLDS[world], split) for _ in range(200)]
    found = {is_held_out(s.colour, s.shape, s.motion) for scene in scenes for s in scene.objects}
    assert found == allowed


def test_an_unknown_split_is_refused():
    unknown: Any = "test"
    with pytest.raises(ValueError, match=r"split: got 'test', expected 'train'"):
        sample_scene(np.random.default_rng(0), WORLDS["narrow"], unknown)


def test_a_quarter_of_wide_scenes_has_two_objects_of_two_colours():
    rng = np.random.default_rng(4)
    scenes = [sample_scene(rng, WORLDS["wide"]) for _ in range(800)]
    pairs = [scene.objects for scene in scenes if len(scene.objects) == 2]
    assert len(pairs) / len(scenes) == pytest.approx(0.25, abs=0.04)
    assert all(first.colour != second.colour for first, second in pairs)


def test_no_disc_or_ring_spins():
    rng = np.random.default_rng(5)
    spinning = replace(WORLDS["wide"], motions=("spin",), two_object_share=0.0)
    shapes = {sample_scene(rng, spinning, "all").objects[0].shape for _ in range(200)}
    assert shapes == set(SHAPES) - {"circle", "ring", "star"}


@pytest.mark.parametrize("world", WORLD_NAMES)
def test_objects_stay_inside_for_the_first_frames_and_cross_half_the_frame(world):
    rng = np.random.default_rng(6)
    alone = replace(WORLDS[world], two_object_share=0.0)
    for _ in range(300):
        (spec,) = sample_scene(rng, alone, "all").objects
        path = trajectory(spec, np.arange(PACE_FRAMES))
        rim = spec.radius * path.scale
        for place in (path.x, path.y):
            assert (place - rim).min() > -0.03
            assert (place + rim).max() < 1.03
        if spec.motion in DIRECTIONS:
            assert 0.38 <= (PACE_FRAMES - 1) * spec.speed <= 0.6


def test_growth_doubles_the_radius_and_then_holds():
    spec = ObjectSpec("red", "circle", "grow", 0.5, 0.5, 0.2, speed=1 / 16)
    scale = trajectory(spec, np.arange(40)).scale
    assert scale[16] / scale[0] == pytest.approx(2)
    assert (np.diff(scale[:17]) > 0).all()
    assert (scale[16:] == scale[16]).all()
    shrinking = trajectory(replace(spec, motion="shrink"), np.arange(40)).scale
    np.testing.assert_allclose(shrinking, 1 / scale, rtol=1e-6)
