"""Cameras pan and zoom over textures; what stands still in the world moves as they do."""

from dataclasses import replace

import numpy as np
import pytest

from videogen.shapes.backdrop import read_backdrop, texture_of
from videogen.shapes.camera import CameraSpec, view
from videogen.shapes.camera_fit import read_camera
from videogen.shapes.motion import StartsOver
from videogen.shapes.patterns import PATTERNS
from videogen.shapes.render import render
from videogen.shapes.scene import ObjectSpec, Scene, sample_scene
from videogen.shapes.vocabulary import AT_REST, CAMERAS, TEXTURES, WORLDS

FRAMES = np.arange(17)
BALL = ObjectSpec("red", "circle", "still", 0.5, 0.5, 0.15)
SPEEDS = {"pan left": 0.025, "pan right": 0.025, "zoom in": 1 / 16, "zoom out": 1 / 16}


def clip(camera, background="checkered gray", **more):
    return render(Scene((BALL,), background, CameraSpec(camera, SPEEDS[camera])), 17, **more)


@pytest.mark.parametrize("texture", TEXTURES)
@pytest.mark.parametrize("camera", SPEEDS)
@pytest.mark.parametrize("size", [{}, {"height": 96, "width": 128}])
def test_its_path_is_measured_from_the_texture(texture, camera, size):
    frames = clip(camera, texture, **size).astype(np.float32)
    backdrop = read_backdrop(frames, WORLDS["wide"].backgrounds)
    assert backdrop.name == texture
    reading = read_camera(*texture_of(frames, backdrop.image))
    seen = view(CameraSpec(camera, SPEEDS[camera]), FRAMES)
    assert reading.name == camera
    np.testing.assert_allclose(reading.x, seen.x, atol=0.03)
    np.testing.assert_allclose(reading.scale, seen.scale / seen.scale[0], rtol=0.04)


@pytest.mark.parametrize("texture", TEXTURES)
def test_a_camera_at_rest_is_read_as_such_however_the_object_moves(texture):
    ball = replace(BALL, motion="right", x=0.3, speed=0.03)
    frames = render(Scene((ball,), texture), 17).astype(np.float32)
    backdrop = read_backdrop(frames, WORLDS["wide"].backgrounds)
    assert read_camera(*texture_of(frames, backdrop.image)).name == "still"


def test_what_is_at_rest_in_the_world_goes_the_other_way():
    scene = Scene((replace(BALL, x=0.75),), "checkered gray", CameraSpec("pan right", 0.025))
    centre = [frame[..., 0].astype(int) > 150 for frame in render(scene, 17)]
    columns = [np.flatnonzero(mask.any(axis=0)).mean() for mask in centre]
    np.testing.assert_allclose(np.diff(columns), -64 * 0.025, atol=0.6)


def test_zooming_in_magnifies_and_stops():
    red = [(frame[..., 0].astype(int) > 150).sum() for frame in clip("zoom in")]
    assert red[16] / red[0] == pytest.approx(2 ** (2 * 0.8), rel=0.1)
    later = render(Scene((BALL,), "dotted navy", CameraSpec("zoom in", 1 / 16)), 3, start_frame=60)
    assert (later[0] == later[2]).all()


def test_a_frame_depends_on_its_index_alone():
    whole = clip("zoom out", "dotted navy")
    scene = Scene((BALL,), "dotted navy", CameraSpec("zoom out", SPEEDS["zoom out"]))
    assert (render(scene, 5, start_frame=12) == whole[12:]).all()


def test_a_round_ends_where_it_began():
    pan = CameraSpec("pan left", 0.025)
    again = view(pan, np.array([0, 40, 80]), StartsOver(at=80, over=20))
    whole_turns = again.x[2] - again.x[0]
    assert whole_turns == pytest.approx(round(float(whole_turns)), abs=1e-5)


def test_scenes_with_a_moving_camera_show_one_object_at_rest_in_the_picture():
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(200):
        scene = sample_scene(rng, WORLDS["moving cameras"], "all")
        (spec,) = scene.objects
        assert spec.motion in AT_REST
        assert scene.background in TEXTURES
        path = view(scene.camera, FRAMES)
        x = (spec.x - 0.5 - path.x) * path.scale + 0.5
        reach = 1.1 * spec.radius * path.scale
        assert ((x - reach > -0.02) & (x + reach < 1.02)).all()
        seen.add(scene.camera.name)
    assert seen == set(CAMERAS[1:])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_repeat_and_are_half_and_half(pattern):
    places = np.linspace(0, 1, 200, endpoint=False)
    u, v = places[None], places[:, None]
    marks = np.broadcast_to(PATTERNS[pattern](u, v, np.array(64.0)), (200, 200))
    again = np.broadcast_to(PATTERNS[pattern](u + 2, v - 1, np.array(64.0)), (200, 200))
    np.testing.assert_allclose(marks, again, atol=1e-6)
    assert 0.4 < marks.mean() < 0.6
    assert (marks.min(), marks.max()) == (0, 1)
