from __future__ import annotations

import pytest

import videogen
from videogen.models.spec import packaged_models
from videogen.shapes.captions import canonical_caption
from videogen.shapes.judge import agrees, judge
from videogen.training.clips import numbered_scene


@pytest.fixture(scope="module")
def pipe():
    return videogen.load("default-fast")


def test_it_asks_for_few_steps_without_guidance(pipe):
    request = pipe.resolve(prompt="a red circle", negative_prompt="blue")
    settings = (request.num_inference_steps, request.guidance_scale, request.context_guidance)
    assert settings == (4, 1.0, 1.0)
    assert pipe.warnings(request) == ["negative_prompt: has no effect at guidance_scale 1"]
    assert "default-fast" in packaged_models()


def test_its_clips_show_what_the_prompts_say(pipe):
    right = []
    for index in range(8):
        scene = numbered_scene(5, index, ("narrow",), "held_out")
        clip = pipe(canonical_caption(scene), seed=index)
        right.append(agrees(judge(clip.to_array()), scene)["all"])
    assert sum(right) >= 7
