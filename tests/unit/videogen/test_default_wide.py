from __future__ import annotations

from itertools import islice

import pytest

import videogen
from videogen.models.spec import packaged_models
from videogen.shapes.captions import canonical_caption
from videogen.shapes.judge import agrees, judge_objects
from videogen.shapes.vocabulary import WORLDS
from videogen.training.clips import numbered_scene


@pytest.fixture(scope="module")
def pipe():
    return videogen.load("default-wide")


def held_out(num_objects, count):
    scenes = (numbered_scene(5, index, ("wide",), "held_out") for index in range(1000))
    return list(islice((s for s in scenes if len(s.objects) == num_objects), count))


def num_right(pipe, scenes):
    clips = [pipe(canonical_caption(scene), seed=index) for index, scene in enumerate(scenes)]
    readings = [
        judge_objects(clip.to_array(), WORLDS["wide"], len(scene.objects))
        for clip, scene in zip(clips, scenes, strict=True)
    ]
    return sum(agrees(read, scene)["all"] for read, scene in zip(readings, scenes, strict=True))


def test_it_ships():
    assert "default-wide" in packaged_models()


def test_most_clips_of_one_object_show_what_the_prompts_say(pipe):
    assert num_right(pipe, held_out(1, 8)) >= 5


def test_clips_of_two_objects_often_do(pipe):
    assert num_right(pipe, held_out(2, 8)) >= 4
