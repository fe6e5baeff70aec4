"""Rendered clips are exact in time, smooth at edges, wrapped at borders, alike at any size."""

from dataclasses import replace

import numpy as np
import pytest

from videogen.shapes.outlines import OUTLINES, TURNED_REACH
from videogen.shapes.render import render, render_background
from videogen.shapes.scene import ObjectSpec, Scene, sample_scene
from videogen.shapes.vocabulary import (
    COLOUR_RGB,
    GRADIENTS,
    MOTIONS,
    PLAIN_BACKGROUND_RGB,
    SHAPES,
    WORLDS,
)

DISC = ObjectSpec("white", "circle", "still", 0.5, 0.5, 0.2)
BLACK = np.array(PLAIN_BACKGROUND_RGB["black"], float)
WHITE = np.array(COLOUR_RGB["white"], float)


def coverage(scene, num_frames=1, **size):
    """Share of white in a white-on-black clip, `[t h w]`."""
    frames = render(scene, num_frames, **size).astype(float)
    return (frames[..., 0] - BLACK[0]) / (WHITE[0] - BLACK[0])


def centre(mask):
    """Centre of mass (x, y) of `[h w]` in fractions of the frame."""
    height, width = mask.shape
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    return np.array((mask.sum(0) @ x, mask.sum(1) @ y)) / mask.sum()


def test_frames_are_uint8_thwc_and_repeat_bit_for_bit():
    scene = sample_scene(np.random.default_rng(0), WORLDS["wide"])
    frames = render(scene, 5, height=48, width=80)
    assert frames.dtype == np.uint8
    assert frames.shape == (5, 48, 80, 3)
    np.testing.assert_array_equal(frames, render(scene, 5, height=48, width=80))


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_later_start_gives_the_tail_of_the_longer_clip(motion):
    alone = replace(WORLDS["wide"], motions=(motion,), two_object_share=0.0)
    scene = sample_scene(np.random.default_rng(1), alone, "all")
    whole = render(scene, 60)
    np.testing.assert_array_equal(render(scene, 20, start_frame=33), whole[33:53])
    assert (whole[0] == whole[7]).all() == (motion == "still")


@pytest.mark.parametrize("shape", SHAPES)
def test_edges_are_anti_aliased_and_the_area_is_that_of_the_outline(shape):
    mask = coverage(Scene((replace(DISC, shape=shape, x=0.507, y=0.493),), "black"))[0]
    partial = (mask > 0.05) & (mask < 0.95)
    assert 20 < partial.sum() < 250
    fine = np.linspace(-1.3, 1.3, 521, dtype=np.float32)
    inside = OUTLINES[shape](*np.meshgrid(fine, fine)) < 0
    expected_px = inside.mean() * 2.605**2 * (0.2 * 64) ** 2
    assert mask.sum() == pytest.approx(expected_px, rel=0.03)
    np.testing.assert_allclose(centre(mask), (0.507, 0.493), atol=0.004)


@pytest.mark.parametrize("shape", SHAPES)
def test_outlines_keep_within_their_reach(shape):
    fine = np.linspace(-2, 2, 801, dtype=np.float32)
    u, v = np.meshgrid(fine, fine)
    assert np.hypot(u, v)[OUTLINES[shape](u, v) < 0].max() <= TURNED_REACH


def test_the_core_has_exactly_the_named_colours():
    frames = render(Scene((replace(DISC, colour="orange"),), "navy"), 1)
    assert tuple(frames[0, 32, 32]) == COLOUR_RGB["orange"]
    assert tuple(frames[0, 2, 2]) == PLAIN_BACKGROUND_RGB["navy"]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_leaving_on_the_right_comes_back_on_the_left(shape):
    middle = replace(DISC, shape=shape)
    crossing = replace(middle, x=1.0, y=0.0)
    expected = np.roll(render(Scene((middle,), "black"), 1), (32, 32), axis=(1, 2))
    np.testing.assert_array_equal(render(Scene((crossing,), "black"), 1), expected)


def test_a_translation_is_periodic_on_the_torus():
    moving = replace(DISC, motion="right", x=0.3, speed=1 / 32)
    frames = render(Scene((moving,), "gray"), 65)
    np.testing.assert_array_equal(frames[0], frames[32])
    np.testing.assert_array_equal(frames[5], frames[37])


@pytest.mark.parametrize(
    ("motion", "step"),
    [
        ("left", (-1, 0)),
        ("right", (1, 0)),
        ("up", (0, -1)),
        ("down", (0, 1)),
        ("up-right", (1, -1)),
    ],
)
def test_a_translation_moves_the_way_its_name_says(motion, step):
    masks = coverage(Scene((replace(DISC, motion=motion, speed=0.02),), "black"), 9)
    np.testing.assert_allclose(
        centre(masks[8]) - centre(masks[0]), 0.16 * np.array(step), atol=0.002
    )


def test_a_spin_turns_the_picture_clockwise():
    spinning = replace(DISC, shape="triangle", motion="spin", speed=1 / 16)
    frames = render(Scene((spinning,), "black"), 9)
    np.testing.assert_allclose(np.rot90(frames[0], -1).astype(int), frames[4], atol=2)
    np.testing.assert_allclose(np.rot90(frames[0], 2).astype(int), frames[8], atol=2)


@pytest.mark.parametrize(("height", "width"), [(128, 128), (96, 160), (160, 96)])
def test_larger_frames_show_the_same_scene(height, width):
    scene = Scene((replace(DISC, shape="star", x=0.4, y=0.6),), "black")
    mask = coverage(scene, height=height, width=width)[0]
    small = coverage(scene)[0]
    np.testing.assert_allclose(centre(mask), centre(small), atol=0.004)
    scale = min(height, width) / 64
    assert mask.sum() == pytest.approx(small.sum() * scale**2, rel=0.03)


def test_the_second_object_is_drawn_on_top():
    scene = Scene((DISC, replace(DISC, colour="red", radius=0.1)), "black")
    assert tuple(render(scene, 1)[0, 32, 32]) == COLOUR_RGB["red"]


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_run_from_start_to_end_along_their_axis(name):
    gradient = GRADIENTS[name]
    image = render_background(name, 40, 60)
    assert tuple(image[0, 0]) == gradient.start
    assert tuple(image[-1, -1]) == gradient.end
    along = image[:, 0] if gradient.axis == "vertical" else image[0]
    assert (np.diff(along.astype(int).sum(axis=-1)) >= 0).all()
    across = image if gradient.axis == "horizontal" else image.transpose(1, 0, 2)
    assert (across == across[:1]).all()
