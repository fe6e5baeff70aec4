"""The examples a newcomer runs first are valid, and show what a manifest can say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from videogen.defaults import PACKAGE_DEFAULTS
from videogen.requests import SAMPLERS, ClipRequest
from videogen.shapes.captions import WORDS, parse_caption
from videogen.shapes.mentions import split_words
from videogen.shapes.vocabulary import WORLDS
from videogen_pipelines.manifest import iter_requests, validate_manifest
from videogen_pipelines.manifest.strict_json import parse_json

EXAMPLES = Path(__file__).parents[3] / "examples"
STUDIES = ("studies/guidance.txt", "studies/steps.txt", "studies/temporal.txt")
NAMES = ("prompts.jsonl", "prompts.csv", "prompts.txt", "long.jsonl", *STUDIES)
LEAVE_THINGS_OPEN = {"studies/guidance.txt"}  # so that clips may differ
OF_LONG_CLIPS = {
    "extension",
    "chunk_frames",
    "context_frames",
    "context_noise",
    "context_guidance",
    "async_steps",
    "anchor",
    "prompts",
    "loop",
}
OF_OWN_MEDIA = {"image", "image_sha256", "video", "video_sha256"}


def requests(name: str) -> list[ClipRequest]:
    items = iter_requests(EXAMPLES / name, PACKAGE_DEFAULTS)
    return [item for item in items if isinstance(item, ClipRequest)]


def read_rows(name: str) -> list[dict[str, Any]]:
    return [parse_json(line) for line in (EXAMPLES / name).read_text().splitlines()]


def test_all_examples_are_tried_here() -> None:
    found = (path for path in EXAMPLES.rglob("*") if path.is_file())
    assert sorted(path.relative_to(EXAMPLES).as_posix() for path in found) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_row_is_good(name: str) -> None:
    validate_manifest(EXAMPLES / name, PACKAGE_DEFAULTS).raise_if_bad()


@pytest.mark.parametrize("name", sorted({*NAMES} - LEAVE_THINGS_OPEN))
def test_prompts_say_everything_in_words_the_default_model_knows(name: str) -> None:
    world = WORLDS["narrow"]
    for request in requests(name):
        assert set(split_words(f"{request.prompt} {request.negative_prompt}")) <= set(WORDS)
        said = parse_caption(request.prompt)
        assert said["colour"] in world.colours, request.prompt
        assert said["shape"] in world.shapes, request.prompt
        assert said["motion"] in world.motions, request.prompt
        assert said["background"] in world.backgrounds, request.prompt


def test_the_example_of_long_clips_shows_all_that_is_theirs_alone() -> None:
    assert {name for row in read_rows("long.jsonl") for name in row} >= OF_LONG_CLIPS
    assert all(request.num_frames > 33 for request in requests("long.jsonl"))


def test_the_main_example_shows_every_field_and_every_sampler() -> None:
    rows = read_rows("prompts.jsonl")
    assert len(rows) >= 12
    shown = {name for row in rows for name in row}
    assert shown == set(ClipRequest.model_fields) - OF_LONG_CLIPS - OF_OWN_MEDIA
    assert {request.sampler for request in requests("prompts.jsonl")} == set(SAMPLERS)
    assert {request.num_frames for request in requests("prompts.jsonl")} == {9, 17, 33}
    assert any("id" not in row for row in rows)
    assert any("seed" not in row for row in rows)
