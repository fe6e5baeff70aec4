"""The judge reads rendered clips right, also blurred and noisy ones, and says no to wrong ones."""

from dataclasses import replace

import numpy as np
import pytest

from videogen.shapes.judge import KEYS, Reading, agrees, judge, judge_objects
from videogen.shapes.render import render
from videogen.shapes.scene import ObjectSpec, Scene, sample_scene
from videogen.shapes.vocabulary import WORLDS

NUM_CLIPS = 200
NUM_DEGRADED = 120
BALL = ObjectSpec("red", "circle", "right", 0.25, 0.5, 0.2, speed=0.03)
SCENE = Scene((BALL,), "black")


def degrade(frames, rng, noise=6.0, blur_px=0.8):
    """A Gaussian blur and Gaussian noise of `noise` levels."""
    taps = np.exp(-(np.arange(-2, 3) ** 2) / (2 * blur_px**2))
    soft = frames.astype(np.float32)
    for axis in (1, 2):
        pad = [(0, 0)] * 4
        pad[axis] = (2, 2)
        padded = np.pad(soft, pad, mode="edge")
        size = soft.shape[axis]
        shifted = [np.take(padded, range(i, i + size), axis) for i in range(5)]
        soft = np.tensordot(taps / taps.sum(), shifted, axes=1)
    return np.clip(soft + rng.normal(0, noise, soft.shape), 0, 255).astype(np.uint8)


def accuracy(world, num_clips, read=judge, spoil=None, **clip):
    """Share of clips whose attribute is read right, by attribute."""
    rng = np.random.default_rng(20)
    verdicts = []
    for _ in range(num_clips):
        scene = sample_scene(rng, world, "all")
        frames = render(scene, **({"num_frames": 17} | clip))
        verdicts.append(agrees(read(spoil(frames, rng) if spoil else frames), scene))
    return {key: np.mean([verdict[key] for verdict in verdicts]) for key in (*KEYS, "all")}


def alone(name):
    return replace(WORLDS[name], two_object_share=0.0)


@pytest.mark.parametrize("world", ["narrow", "wide"])
def test_clean_clips_are_read_right(world):
    shares = accuracy(alone(world), NUM_CLIPS)
    assert min(shares[key] for key in KEYS) >= 0.99
    assert shares["all"] >= 0.98


@pytest.mark.parametrize("world", ["narrow", "wide"])
def test_blurred_and_noisy_clips_are_read_right(world):
    assert accuracy(alone(world), NUM_DEGRADED, spoil=degrade)["all"] >= 0.97


def test_a_moving_camera_is_read_also_from_soft_and_noisy_clips():
    assert accuracy(WORLDS["moving cameras"], 40)["all"] >= 0.97
    assert accuracy(WORLDS["moving cameras"], 40, spoil=degrade)["all"] >= 0.95


def test_both_objects_of_a_pair_are_read():
    pairs = replace(WORLDS["wide"], two_object_share=1.0)
    assert accuracy(pairs, 100, read=judge_objects)["all"] >= 0.95


@pytest.mark.parametrize(
    "clip",
    [
        {"num_frames": 5},
        {"num_frames": 49},
        {"height": 32, "width": 32},
        {"height": 128, "width": 224},
        {"num_frames": 17, "start_frame": 40},
    ],
)
def test_any_length_and_size_is_read(clip):
    late = "start_frame" in clip
    world = alone("narrow")
    # Growth is over by then, and the object at rest.
    world = replace(world, motions=world.motions[:5]) if late else world
    assert accuracy(world, 40, **clip)["all"] >= 0.97


def test_a_single_object_is_not_read_as_two():
    rng = np.random.default_rng(2)
    for _ in range(40):
        frames = render(sample_scene(rng, alone("wide"), "all"), 17)
        assert len(judge_objects(degrade(frames, rng))) == 1


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"colour": "blue"}, "colour"),
        ({"shape": "square"}, "shape"),
        ({"motion": "up"}, "motion"),
        ({"motion": "still"}, "motion"),
    ],
)
def test_one_wrong_attribute_is_told_from_the_right_ones(change, wrong):
    verdict = agrees(judge(render(Scene((replace(BALL, **change),), "black"), 17)), SCENE)
    assert verdict == {key: key not in (wrong, "all") for key in (*KEYS, "all")}


def test_a_wrong_background_is_told():
    verdict = agrees(judge(render(replace(SCENE, background="sunset gradient"), 17)), SCENE)
    assert [key for key, right in verdict.items() if not right] == ["background", "all"]


def test_a_clip_played_backwards_moves_the_other_way():
    frames = render(SCENE, 17)
    assert judge(frames).motion == "right"
    assert judge(frames[::-1]).motion == "left"


def test_off_colours_are_read_by_the_nearest_name():
    frames = render(SCENE, 17).astype(int)
    assert judge((frames * 0.85 + 12).astype(np.uint8)).colour == "red"


def test_frames_in_random_order_lower_the_confidence():
    frames = render(SCENE, 17)
    shuffled = frames[np.random.default_rng(0).permutation(17)]
    reading = judge(shuffled)
    assert reading.motion != "right" or reading.confidence < judge(frames).confidence


@pytest.mark.parametrize("level", [0, 72, 255])
def test_an_empty_clip_shows_nothing(level):
    reading = judge(np.full((17, 64, 64, 3), level, np.uint8))
    assert (reading.colour, reading.shape, reading.motion, reading.confidence) == (
        None,
        None,
        None,
        0.0,
    )


def test_noise_is_read_without_confidence():
    noise = np.random.default_rng(1).integers(0, 256, (17, 64, 64, 3), dtype=np.uint8)
    assert judge(noise).confidence < 0.2


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((4, 64, 64, 3), np.uint8),
        np.zeros((17, 64, 64, 3), np.float32),
        np.zeros((17, 64, 64), np.uint8),
    ],
)
def test_what_is_not_a_clip_is_refused(frames):
    with pytest.raises(ValueError, match="expected uint8"):
        judge(frames)


def test_attributes_that_are_not_asked_for_agree():
    reading = Reading("red", "circle", "right", "black", 1.0)
    assert agrees(reading, {"colour": "red"})["all"]
    verdict = agrees(reading, {"colour": "blue", "shape": None})
    assert verdict == {
        "colour": False,
        "shape": True,
        "motion": True,
        "background": True,
        "camera": True,
        "all": False,
    }


def test_readings_of_a_pair_match_in_any_order_but_not_one_object_twice():
    ball, star = BALL, ObjectSpec("blue", "star", "still", 0.7, 0.7, 0.1)
    pair = Scene((ball, star), "black")
    read_ball = Reading("red", "circle", "right", "black", 1.0)
    read_star = Reading("blue", "star", "still", "black", 1.0)
    assert agrees((read_star, read_ball), pair)["all"]
    assert agrees(read_star, pair)["all"]
    assert not agrees((read_ball, read_ball), pair)["all"]
    assert not agrees((read_ball,), pair)["all"]
