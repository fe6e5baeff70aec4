"""Captions say what the scene shows, in many ways, and read back."""

import numpy as np
import pytest

from videogen.shapes.camera import CameraSpec
from videogen.shapes.captions import (
    ATTRIBUTES,
    WORDS,
    canonical_caption,
    caption,
    parse_caption,
)
from videogen.shapes.mentions import split_words
from videogen.shapes.phrases import (
    BACKGROUND_WORDS,
    CAMERA_WORDS,
    COLOUR_WORDS,
    MOTION_WORDS,
    SHAPE_WORDS,
)
from videogen.shapes.scene import ObjectSpec, Scene, sample_scene
from videogen.shapes.vocabulary import BACKGROUNDS, CAMERAS, COLOURS, MOTIONS, SHAPES, WORLDS

SCENE = Scene((ObjectSpec("red", "circle", "right", 0.3, 0.5, 0.2),), "black")
NUM_CAPTIONS = 3000


def attributes(scene):
    spec = scene.objects[0]
    return {
        "colour": spec.colour,
        "shape": spec.shape,
        "motion": spec.motion,
        "background": scene.background,
        "camera": None if scene.camera.name == "still" else scene.camera.name,
    }


@pytest.mark.parametrize(
    ("names", "phrases"),
    [
        (COLOURS, COLOUR_WORDS),
        (SHAPES, SHAPE_WORDS),
        (MOTIONS, MOTION_WORDS),
        (BACKGROUNDS, BACKGROUND_WORDS),
        (CAMERAS[1:], CAMERA_WORDS),
    ],
)
def test_every_name_has_words(names, phrases):
    assert set(phrases) == set(names)
    assert all(phrases[name] for name in names)


@pytest.mark.parametrize("world", ["narrow", "wide", "moving cameras"])
def test_captions_never_contradict_the_scene_and_use_known_words_only(world):
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(NUM_CAPTIONS):
        scene = sample_scene(rng, WORLDS[world], "all")
        text = caption(scene, rng)
        seen |= set(split_words(text))
        truth = attributes(scene)
        for name, read in parse_caption(text).items():
            assert read in (None, truth[name]), text
    assert seen <= set(WORDS)
    if world == "wide":
        assert set(WORDS) - seen == {"star"}


def test_about_one_caption_in_five_is_partial_and_some_are_a_single_word():
    rng = np.random.default_rng(1)
    texts = [caption(SCENE, rng) for _ in range(NUM_CAPTIONS)]
    read = [parse_caption(text) for text in texts]
    missing = [sum(said[name] is None for name in ATTRIBUTES[:4]) for said in read]
    assert np.mean(np.array(missing) > 0) == pytest.approx(0.2, abs=0.03)
    assert {1, 2, 3} <= set(missing)
    assert 4 not in missing
    assert {"red", "circle", "black background"} <= set(texts)


@pytest.mark.parametrize("camera", CAMERAS[1:])
def test_a_moving_camera_is_told_and_read_back(camera):
    scene = Scene(SCENE.objects, "dotted navy", CameraSpec(camera, 0.02))
    rng = np.random.default_rng(3)
    read = [parse_caption(caption(scene, rng))["camera"] for _ in range(300)]
    assert set(read) == {None, camera}
    assert read.count(camera) > 240
    assert parse_caption(canonical_caption(scene))["camera"] == camera


def test_phrasings_are_many_and_follow_the_seed():
    texts = [caption(SCENE, np.random.default_rng(seed)) for seed in range(500)]
    assert len(set(texts)) > 300
    assert texts[7] == caption(SCENE, np.random.default_rng(7))


def test_both_spellings_of_gray_occur():
    rng = np.random.default_rng(2)
    gray = Scene(SCENE.objects, "gray")
    words = {word for _ in range(200) for word in split_words(caption(gray, rng))}
    assert {"gray", "grey"} <= words


def test_canonical_captions_are_fixed():
    assert canonical_caption(SCENE) == "a red circle moving right on a black background"
    pair = Scene(
        (*SCENE.objects, ObjectSpec("orange", "star", "spin", 0.5, 0.5, 0.1)), "sunset gradient"
    )
    assert (
        canonical_caption(pair)
        == "a red circle moving right and an orange star spinning on a sunset gradient background"
    )


@pytest.mark.parametrize("world", ["narrow", "wide"])
def test_canonical_captions_are_complete_and_tell_every_combination_apart(world):
    texts = set()
    for colour, shape, motion in WORLDS[world].combinations():
        for background in WORLDS[world].backgrounds:
            scene = Scene((ObjectSpec(colour, shape, motion, 0.5, 0.5, 0.2),), background)
            text = canonical_caption(scene)
            assert parse_caption(text) == attributes(scene)
            texts.add(text)
    assert len(texts) == len(WORLDS[world].combinations()) * len(WORLDS[world].backgrounds)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A Red BALL, drifting rightwards!", ("red", "circle", "right", None)),
        ("a donut on a dark blue background", (None, "ring", None, "navy")),
        ("a blue disc on a blue gradient", ("blue", "circle", None, "blue gradient")),
        ("a violet plus sign moving up and to the left", ("purple", "cross", "up-left", None)),
        ("a box bouncing up and down, grey backdrop", (None, "square", "bounce", "gray")),
        ("a cat on a sofa", (None, None, None, None)),
        ("", (None, None, None, None)),
    ],
)
def test_parsing_reads_synonyms_and_prefers_the_longest_phrase(text, expected):
    assert parse_caption(text) == dict(zip(ATTRIBUTES, (*expected, None), strict=True))
