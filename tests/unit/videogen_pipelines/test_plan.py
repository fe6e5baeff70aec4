"""A plan counts what is done, what is bad and what is to be made, by shape."""

from __future__ import annotations

from typing import Any

from videogen.clip_ids import clip_id
from videogen.requests import ClipRequest
from videogen_pipelines.manifest import InvalidRow
from videogen_pipelines.plan import ClipShape, Plan, PlannedClip, Planner

MODEL, VERSION = "d" * 64, "1"


def request(name: str, **fields: Any) -> ClipRequest:
    values: dict[str, Any] = {
        "id": name,
        "prompt": "p",
        "seed": 1,
        "num_frames": 17,
        "height": 64,
        "width": 96,
        "fps": 8.0,
        "num_inference_steps": 10,
        "guidance_scale": 3.0,
        "sampler": "euler",
    }
    return ClipRequest(**{**values, **fields})


def test_rows_are_compared_with_what_is_committed():
    rows = [request("done"), request("missing"), InvalidRow("bad", 3, "no prompt")]
    committed = {"done": clip_id(request("done"), MODEL, VERSION), "elsewhere": "x"}
    planned = list(Planner(MODEL, VERSION, committed).rows(rows))
    clips = [row for row in planned if isinstance(row, PlannedClip)]
    assert [(clip.request.id, clip.done) for clip in clips] == [("done", True), ("missing", False)]
    assert planned[2] == rows[2]


def test_the_clip_of_another_request_is_not_done():
    committed = {"a": clip_id(request("a", seed=2), MODEL, VERSION)}
    (clip,) = Planner(MODEL, VERSION, committed).rows([request("a")])
    assert isinstance(clip, PlannedClip)
    assert not clip.done


def test_payloads_hold_json_types_that_read_back_as_the_same_request():
    (clip,) = Planner(MODEL, VERSION, {}).rows([request("a", metadata={"k": [1, None]})])
    assert isinstance(clip, PlannedClip)
    payload = clip.payload()
    assert ClipRequest.model_validate(payload["request"]) == clip.request
    assert payload["clip_id"] == clip.clip_id


def test_a_plan_adds_up():
    plan = Plan()
    plan.add(InvalidRow("bad", 1, "x"))
    plan.add(PlannedClip(request("a"), "x", done=True))
    plan.add(PlannedClip(request("b"), "x", done=False))
    plan.add(PlannedClip(request("c"), "x", done=False))
    assert (plan.done, plan.invalid, plan.to_do, plan.total) == (1, 1, 2, 4)
    assert plan.shapes == {ClipShape(17, 64, 96, evaluations=20): 2}


def test_evaluations_count_guidance_and_two_stage_samplers():
    evaluations = [
        ClipShape.of(request("a", **fields)).evaluations
        for fields in (
            {"guidance_scale": 1.0},
            {"guidance_scale": 3.0},
            {"guidance_scale": 1.0, "sampler": "heun"},
            {"guidance_scale": 3.0, "sampler": "heun"},
        )
    ]
    assert evaluations == [10, 20, 20, 40]
