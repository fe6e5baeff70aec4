"""Prompts from the command line are rows like any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from videogen.defaults import PACKAGE_DEFAULTS
from videogen.errors import InvalidRequestError
from videogen.requests import ClipRequest
from videogen_pipelines.inputs import ManifestInputs, PromptInputs
from videogen_pipelines.manifest import InvalidRow, ManifestError
from videogen_pipelines.recorded import inputs_of


def odd(request: ClipRequest) -> None:
    if request.num_frames % 2 == 0:
        raise InvalidRequestError(f"num_frames: got {request.num_frames}, expected an odd number")


def no_check(request: ClipRequest) -> None:
    pass


def clips(inputs: PromptInputs | ManifestInputs) -> list[ClipRequest]:
    found = list(inputs.requests(inputs.check()))
    assert all(isinstance(request, ClipRequest) for request in found)
    return [request for request in found if isinstance(request, ClipRequest)]


def test_each_prompt_is_a_clip_with_a_stable_id_and_seed():
    inputs = PromptInputs(["a cat", "a dog", "a cat"], PACKAGE_DEFAULTS, odd)
    made = clips(inputs)
    assert [request.prompt for request in made] == ["a cat", "a dog", "a cat"]
    assert len({request.id for request in made}) == 3
    assert made == clips(inputs)
    assert made[0] == clips(PromptInputs(["a cat"], PACKAGE_DEFAULTS, odd))[0]


def test_a_prompt_is_the_same_clip_as_the_same_row_of_a_manifest(tmp_path: Path):
    manifest = tmp_path / "rows.jsonl"
    manifest.write_text('{"prompt": "a cat", "seed": 3}\n')
    from_file = clips(ManifestInputs(str(manifest), PACKAGE_DEFAULTS, odd))
    assert clips(PromptInputs(["a cat"], PACKAGE_DEFAULTS, odd, seed=3)) == from_file


def test_a_prompt_says_what_a_row_would(tmp_path: Path):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "start.png")
    row = {"prompt": "a cat", "duration_s": 1.0, "image": "start.png", "loop": True}
    manifest = tmp_path / "rows.jsonl"
    manifest.write_text(json.dumps(row) + "\n")
    from_file = clips(ManifestInputs(str(manifest), PACKAGE_DEFAULTS, no_check))
    said = {name: value for name, value in row.items() if name != "prompt"}
    inputs = PromptInputs(["a cat"], PACKAGE_DEFAULTS, no_check, fields=said, folder=str(tmp_path))
    assert clips(inputs) == from_file
    assert from_file[0].image == str(tmp_path / "start.png")
    recipe = json.loads(json.dumps(inputs.recipe()))
    again = inputs_of(recipe, PACKAGE_DEFAULTS, no_check)
    assert isinstance(again, PromptInputs)
    assert clips(again) == from_file


def test_samples_have_seeds_of_their_own():
    inputs = PromptInputs(["a cat"], PACKAGE_DEFAULTS, odd, seed=3, num_samples=3)
    made = clips(inputs)
    assert inputs.check().num_clips == 3
    assert made[0].seed == 3
    assert len({request.seed for request in made}) == 3


def test_other_prompts_are_other_inputs():
    digests = {
        PromptInputs([prompt], PACKAGE_DEFAULTS, odd).check().digest for prompt in ("a", "b")
    }
    assert len(digests) == 2


def test_every_bad_prompt_is_named():
    inputs = PromptInputs(["fine", "  ", "x" * 5000], PACKAGE_DEFAULTS, odd)
    with pytest.raises(ManifestError) as caught:
        inputs.check()
    assert caught.value.num_bad_rows == 2
    assert "prompt 2" in str(caught.value)
    assert "prompt 3" in str(caught.value)


def test_a_size_the_model_cannot_make_is_refused():
    defaults = PACKAGE_DEFAULTS.model_copy(update={"num_frames": 16})
    with pytest.raises(ManifestError, match="num_frames: got 16"):
        PromptInputs(["a cat"], defaults, odd).check()


def test_bad_rows_of_a_manifest_fail_or_are_skipped(tmp_path: Path):
    manifest = tmp_path / "rows.jsonl"
    manifest.write_text('{"prompt": "a cat"}\n{"prompt": 5, "id": "five"}\n')
    with pytest.raises(ManifestError, match="line 2"):
        ManifestInputs(str(manifest), PACKAGE_DEFAULTS, odd).check()
    skipping = ManifestInputs(str(manifest), PACKAGE_DEFAULTS, odd, bad_rows="skip")
    found = list(skipping.requests(skipping.check()))
    assert [type(row) for row in found] == [ClipRequest, InvalidRow]
    assert found[1].id == "five"
