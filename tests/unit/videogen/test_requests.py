"""Requests: exact types, one sentence per mistake, and ids that name pixels."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from videogen.clip_ids import LONG_CLIP_FIELDS, clip_id
from videogen.errors import InvalidRequestError
from videogen.requests import (
    SAMPLERS,
    ClipRequest,
    FieldProblem,
    SamplingDefaults,
    check_id,
    find_problems,
    make_request,
)
from videogen.seeds import MAX_SEED

GOOD: dict[str, Any] = {
    "id": "a",
    "prompt": "a red circle",
    "seed": 1,
    "num_frames": 17,
    "height": 64,
    "width": 64,
    "fps": 8,
    "num_inference_steps": 4,
    "guidance_scale": 3,
    "sampler": "ddim",
}


def error_of(**fields: Any) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        make_request({**GOOD, **fields})
    return str(caught.value)


def test_integers_become_floats_where_a_number_is_asked_for() -> None:
    request = make_request({**GOOD, "guidance_interval": [0, 0.5]})
    assert (request.fps, type(request.fps)) == (8.0, float)
    assert request.guidance_interval == (0.0, 0.5)
    assert (request.negative_prompt, request.eta, request.metadata) == ("", 0.0, {})


def test_a_request_survives_json() -> None:
    request = make_request({**GOOD, "guidance_interval": [0.1, 0.5], "metadata": {"k": [1]}})
    sent = json.loads(json.dumps(request.model_dump(mode="json")))
    assert ClipRequest.model_validate(sent) == request


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"num_frames": "33"},
            "num_frames: got '33', expected an integer from 1 to 1000000. "
            "Fix: write the number without quotes.",
        ),
        (
            {"num_frames": 33.0},
            "num_frames: got 33.0, expected an integer from 1 to 1000000. "
            "Fix: write 33, without a decimal point.",
        ),
        ({"num_frames": True}, "num_frames: got True, expected an integer from 1 to 1000000"),
        ({"num_frames": 0}, "num_frames: got 0, expected an integer from 1 to 1000000"),
        ({"height": -64}, "height: got -64, expected an integer from 1 to 8192"),
        ({"width": 10000}, "width: got 10000, expected an integer from 1 to 8192"),
        ({"fps": 0}, "fps: got 0, expected a finite number above 0 and at most 240"),
        ({"fps": False}, "fps: got False, expected a finite number above 0 and at most 240"),
        (
            {"guidance_scale": float("nan")},
            "guidance_scale: got nan, expected a finite number from 0 to 100",
        ),
        (
            {"guidance_scale": float("inf")},
            "guidance_scale: got inf, expected a finite number from 0 to 100",
        ),
        ({"eta": 1.5}, "eta: got 1.5, expected a finite number from 0 to 1"),
        ({"seed": -1}, f"seed: got -1, expected an integer from 0 to {MAX_SEED}"),
        (
            {"seed": MAX_SEED + 1},
            f"seed: got {MAX_SEED + 1}, expected an integer from 0 to {MAX_SEED}",
        ),
        (
            {"sampler": "dpmpp2m"},
            f"sampler: got 'dpmpp2m', expected one of {', '.join(SAMPLERS)}. "
            "Did you mean 'dpmpp_2m'?",
        ),
        ({"sampler": 3}, f"sampler: got 3, expected one of {', '.join(SAMPLERS)}"),
        ({"id": 3}, "id: got 3, expected a string. Fix: write it in quotes."),
        ({"metadata": [1]}, "metadata: got [1], expected an object (a mapping of names to values)"),
        (
            {"prompt": "x" * 4097},
            "prompt: got 4097 characters, expected a string of at most 4096 characters. "
            "Fix: shorten it.",
        ),
        ({"prompt": "a\x00b"}, "prompt: got a NUL character, expected text. Fix: remove it."),
        ({"prompt": "a\ud800"}, "prompt: got 'a\\ud800', expected text without lone surrogates"),
        ({"promt": "x"}, "promt: unknown field, expected one of id, prompt, negative_prompt,"),
    ],
)
def test_says_what_was_got_and_what_was_expected(fields: dict[str, Any], message: str) -> None:
    assert error_of(**fields).startswith(message)


@pytest.mark.parametrize(
    "value", [[0.5, 0.1], [0.5], [0, 2], [-0.1, 1], [0, "1"], "0,1", [True, 1]]
)
def test_a_guidance_interval_is_two_ordered_fractions(value: object) -> None:
    assert error_of(guidance_interval=value) == (
        f"guidance_interval: got {value!r}, expected [low, high] with 0 <= low <= high <= 1, "
        "fractions of the denoising steps"
    )


def test_all_mistakes_are_said_at_once_one_a_line() -> None:
    lines = error_of(fps=0, seed="7", width=None).splitlines()
    assert [line.split(":")[0] for line in lines] == ["seed", "width", "fps"]


def test_a_missing_field_is_missing() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        make_request({key: value for key, value in GOOD.items() if key != "seed"})
    assert str(caught.value) == f"seed: missing, expected an integer from 0 to {MAX_SEED}"


@pytest.mark.parametrize("name", ["a", "A1._-z", "0", "x" * 128])
def test_an_id_may_be_a_plain_file_name(name: str) -> None:
    assert check_id(name) == name


@pytest.mark.parametrize(
    "name", ["", ".a", "-a", "a/b", "../x", "a b", "ä", "x" * 129, "a\n", "a\\b", "..", "C:x"]
)
def test_an_id_is_never_a_path(name: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"^id: got .*because it becomes a file name"):
        check_id(name)
    assert error_of(id=name).startswith("id: got ")


def test_defaults_check_the_same_bounds_and_describe_them_the_same() -> None:
    with pytest.raises(ValidationError) as caught:
        SamplingDefaults.model_validate({"fps": 0, "num_frames": "33", "guidance_interval": [1]})
    assert [str(problem) for problem in find_problems(caught.value, SamplingDefaults)] == [
        "num_frames: got '33', expected an integer from 1 to 1000000. "
        "Fix: write the number without quotes.",
        "fps: got 0, expected a finite number above 0 and at most 240",
        "guidance_interval: got [1], expected [low, high] with 0 <= low <= high <= 1, fractions "
        "of the denoising steps",
    ]


def test_later_defaults_win_where_they_say_something() -> None:
    model = SamplingDefaults(num_frames=17, fps=8.0, negative_prompt="blurry")
    merged = model.merged(SamplingDefaults(fps=24.0), SamplingDefaults(negative_prompt=""))
    assert merged == SamplingDefaults(num_frames=17, fps=24.0, negative_prompt="")


def test_clip_id_is_the_request_the_model_and_the_sampler() -> None:
    request = make_request(GOOD)
    name = clip_id(request, "m1", "s1")
    assert len(name) == 32
    assert name == clip_id(make_request({**GOOD, "fps": 8.0, "eta": 0}), "m1", "s1")
    assert name == clip_id(make_request({**GOOD, "metadata": {"k": 1}}), "m1", "s1")
    others = {
        clip_id(make_request({**GOOD, **change}), "m1", "s1")
        for change in (
            {"seed": 2},
            {"id": "b"},
            {"prompt": "a red circle "},
            {"negative_prompt": "x"},
            {"guidance_interval": [0.0, 0.5]},
        )
    }
    others |= {clip_id(request, "m2", "s1"), clip_id(request, "m1", "s2")}
    assert len(others | {name}) == 8


def test_clip_id_names_the_content_of_files_and_not_their_place() -> None:
    def name(**fields: Any) -> str:
        return clip_id(make_request({**GOOD, **fields}), "m1", "s1")

    here = name(image="/a/cat.png", image_sha256="0" * 64)
    assert here == name(image="s3://b/cat.png", image_sha256="0" * 64)
    others = {
        name(image="/a/cat.png", image_sha256="1" * 64),
        name(video="/a/cat.png", video_sha256="0" * 64),
        name(image="/a/cat.png"),
        name(image="/b/cat.png"),
        name(),
    }
    assert len(others | {here}) == 6
    with pytest.raises(InvalidRequestError, match="image_sha256: got 'x', expected 64 hex digits"):
        make_request({**GOOD, "image": "cat.png", "image_sha256": "x"})


def plain_clip_id(request: ClipRequest, model_digest: str, sampler_version: str) -> str:
    """What `clip_id` is by definition."""
    fields = ClipRequest.model_fields
    unsaid = {n for n in LONG_CLIP_FIELDS if getattr(request, n) == fields[n].default}
    content = {
        "request": request.model_dump(mode="json", exclude={"metadata", *unsaid}),
        "model": model_digest,
        "sampler_version": sampler_version,
    }
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@given(
    prompt=st.text().filter(lambda text: "\x00" not in text),
    negative=st.sampled_from(["", "dark", 'a "quote"', "é\u2028"]),
    seed=st.integers(0, 2**63 - 1),
    scale=st.one_of(st.sampled_from([0.0, -0.0, 1e-7, 1.0]), st.floats(0, 100)),
    frames=st.integers(1, 3),
    model=st.sampled_from(["m1", 'm"2']),
)
def test_clip_id_is_what_its_definition_says(
    prompt: str, negative: str, seed: int, scale: float, frames: int, model: str
) -> None:
    changes = {"prompt": prompt, "negative_prompt": negative, "seed": seed, "num_frames": frames}
    request = make_request({**GOOD, **changes, "guidance_scale": scale})
    assert clip_id(request, model, "s1") == plain_clip_id(request, model, "s1")


def test_clip_id_does_not_change_between_releases() -> None:
    assert clip_id(make_request(GOOD), "m1", "s1") == "1a991709dfe0fda8e7305a3245846ea7"


SCHEDULE = [{"at_s": 0, "prompt": "a red circle"}, {"at_s": 2.5, "prompt": "a blue one"}]


def test_the_first_of_several_prompts_is_the_prompt() -> None:
    values = {name: value for name, value in GOOD.items() if name != "prompt"}
    request = make_request({**values, "prompts": SCHEDULE})
    assert request.prompt == "a red circle"
    assert [(entry.at_s, entry.prompt) for entry in request.prompts][1] == (2.5, "a blue one")
    assert make_request(request.model_dump(mode="json")) == request


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompts": [{"at_s": 1, "prompt": "a"}]}, "the first at 0 seconds"),
        ({"prompts": [SCHEDULE[0], SCHEDULE[0]]}, "each later than the one before"),
        ({"prompts": [{"prompt": "a"}]}, "expected a list of {at_s, prompt}"),
        ({"prompts": "a"}, "prompts: got 'a', expected a list of {at_s, prompt}"),
        ({"prompts": [{"at_s": 0, "prompt": "b"}]}, "prompts: got 'b' at 0 seconds and prompt"),
        ({"image": "a.png", "video": "b.mp4"}, "image: got 'a.png' and a video"),
        ({"image": ""}, "image: got ''"),
        ({"extension": "overlapp"}, "Did you mean 'overlap'?"),
        ({"context_noise": 0.9}, "context_noise: got 0.9, expected a finite number from 0 to 0.5"),
        ({"anchor": 2}, "anchor: got 2"),
        ({"async_steps": -1}, "async_steps: got -1"),
    ],
)
def test_what_is_wrong_with_a_long_clip_is_named(fields: dict[str, Any], message: str) -> None:
    assert message in error_of(**fields)


@pytest.mark.parametrize(
    "fields",
    [{"loop": True}, {"anchor": 0.5}, {"prompts": SCHEDULE}, {"image": "a"}, {"chunk_frames": 17}],
)
def test_what_a_long_clip_asks_for_is_part_of_its_id(fields: dict[str, Any]) -> None:
    plain, other = make_request(GOOD), make_request(GOOD | fields)
    assert clip_id(other, "m1", "s1") != clip_id(plain, "m1", "s1")
    assert clip_id(other, "m1", "s1") == plain_clip_id(other, "m1", "s1")


words = st.text(st.characters(codec="ascii", exclude_characters="."), min_size=1).map(str.strip)


@given(words.filter(lambda text: text and "expected " not in text and "," not in text))
def test_a_problem_is_read_back_from_its_sentence(value: str) -> None:
    problem = FieldProblem("num_frames", repr(value), "4n+1 (77, 81), because of 4", "write 81")
    assert FieldProblem.parse(str(problem)) == problem


def test_a_sentence_of_another_form_is_kept_whole() -> None:
    problem = FieldProblem.parse("It broke.", field="height", value="3")
    assert problem == FieldProblem("height", "3", "It broke")


BY_SIZE = {"height": 4, "width": 5, "flow_shifts": [[0, 3], [24, 5.0]]}


def test_the_flow_shift_goes_by_the_size_unless_it_is_said() -> None:
    defaults = SamplingDefaults(flow_shift=1.0).merged(SamplingDefaults(**BY_SIZE))
    assert defaults.filled({})["flow_shift"] == 3.0
    assert defaults.filled({"height": 5})["flow_shift"] == 5.0
    assert defaults.filled({"height": 5, "flow_shift": 2.0})["flow_shift"] == 2.0
    assert "flow_shifts" not in defaults.filled({})
    assert defaults.merged(SamplingDefaults(flow_shift=8.0)).filled({})["flow_shift"] == 8.0


@pytest.mark.parametrize("shifts", [[], 3.0, [[1, 3.0]], [[0, 0.0]], [[0, 3.0], [0, 5.0]], [[0]]])
def test_wrong_flow_shifts(shifts: object) -> None:
    with pytest.raises(ValidationError, match=r"expected a list of \[pixels of a frame"):
        SamplingDefaults.model_validate({"flow_shifts": shifts})
