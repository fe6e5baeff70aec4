"""Grids: what they say, which clips they ask for, and what a sweep's evaluation adds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from videogen.defaults import sampling_defaults
from videogen.errors import ConfigError, InvalidRequestError
from videogen.evaluation import METRICS
from videogen.requests import ClipRequest
from videogen_pipelines.evaluation.score import ClipScore, MetricScore
from videogen_pipelines.evaluation.sources import SourceClip
from videogen_pipelines.evaluation.summary import PointSummaries
from videogen_pipelines.evaluation.sweep import (
    SweepInputs,
    id_at,
    parse_grid,
    points_of,
    request_at,
)
from videogen_pipelines.inputs import ManifestInputs
from videogen_pipelines.manifest.rows import ResolvedRow
from videogen_pipelines.recorded import inputs_of

GRID = {"guidance_scale": [1.0, 3.0], "sampler": ["ddim", "euler"]}


def no_check(request: ClipRequest) -> None:
    if request.num_frames == 7:
        raise InvalidRequestError("num_frames: got 7, expected 4n+1")


@pytest.fixture
def inputs(tmp_path: Path) -> ManifestInputs:
    path = tmp_path / "rows.jsonl"
    rows = [{"id": f"r{n}", "prompt": "a red circle", "metadata": {"of": n}} for n in range(2)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ManifestInputs(str(path), sampling_defaults("tiny", {"num_frames": 5}), no_check)


def test_a_grid_is_read_by_the_types_of_its_fields():
    said = ["guidance_scale=1,3", "sampler=ddim,euler"]
    assert parse_grid(said) == GRID
    assert parse_grid(["negative_prompt=['a, b', c]"]) == {"negative_prompt": ["a, b", "c"]}
    assert parse_grid(["num_inference_steps=4"]) == {"num_inference_steps": [4]}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (["guidance=1"], "Did you mean 'guidance_scale'"),
        (["sampler=ddim,eulr"], "Did you mean 'euler'"),
        (["num_frames=1.5"], "got 1.5"),
        (["guidance_scale"], "expected field=value"),
        (["guidance_scale=1,1.0"], "each once"),
        (["eta=0", "eta=1"], "twice"),
        (["num_inference_steps=" + ",".join(map(str, range(1, 1001))), "eta=0,1"], "2,000 points"),
    ],
)
def test_wrong_grids_are_refused(said: list[str], why: str):
    with pytest.raises(ConfigError, match=why.replace("(", r"\(")):
        parse_grid(said)


def test_every_row_is_made_at_every_point_with_the_seed_of_the_row(inputs: ManifestInputs):
    sweep = SweepInputs(inputs, GRID, no_check)
    told: list[ResolvedRow] = []
    report = sweep.check(told.append)
    assert (report.num_rows, report.num_clips) == (2, 8)
    made = [each for each in sweep.requests(report) if isinstance(each, ClipRequest)]
    assert [request for row in told for request in row.requests] == made
    assert [n for row in told for n in row.ids] == [request.id for request in made]
    assert [request.id for request in made[:4]] == [
        "r0.guidance_scale-1.sampler-ddim",
        "r0.guidance_scale-1.sampler-euler",
        "r0.guidance_scale-3.sampler-ddim",
        "r0.guidance_scale-3.sampler-euler",
    ]
    assert len({request.seed for request in made[:4]}) == 1
    assert (made[2].guidance_scale, made[2].sampler) == (3.0, "ddim")
    sweep_of = {"row": "r0", "guidance_scale": 3.0, "sampler": "ddim"}
    assert made[2].metadata == {"of": 0, "sweep": sweep_of}


def test_a_point_that_the_model_cannot_make_is_found_at_once(inputs: ManifestInputs):
    with pytest.raises(InvalidRequestError, match=r"r0.num_frames-7: .*expected 4n\+1"):
        SweepInputs(inputs, {"num_frames": [5, 7]}, no_check).check()


def test_the_recipe_reads_the_same_rows_again(inputs: ManifestInputs):
    sweep = SweepInputs(inputs, {"guidance_interval": [(0.0, 1.0), (0.2, 0.8)]}, no_check)
    recipe = json.loads(json.dumps(sweep.recipe()))
    again = inputs_of(recipe, inputs.defaults, no_check)
    report = sweep.check()
    assert list(again.requests(report)) == list(sweep.requests(report))


def test_ids_stay_ids_and_metadata_is_not_overwritten(inputs: ManifestInputs):
    long = id_at("x" * 120, {"guidance_scale": 3.0})
    assert len(long) <= 128
    assert long != id_at("x" * 120, {"guidance_scale": 4.0})
    assert id_at("a", {"negative_prompt": "a/b"}).startswith("a.negative_prompt-")
    assert "/" not in id_at("a", {"negative_prompt": "a/b"})
    (first, *_) = inputs.requests(inputs.check())
    assert isinstance(first, ClipRequest)
    taken = first.model_copy(update={"metadata": {"sweep": 1}})
    with pytest.raises(InvalidRequestError, match="expected that name to be free"):
        request_at(taken, {"eta": 0.5})


class FakeSidecar:
    """As much of a sidecar as a grid point needs."""

    def __init__(self, request: ClipRequest) -> None:
        self.request = request


def scored(request: ClipRequest, value: float) -> tuple[SourceClip, ClipScore]:
    metric = MetricScore(value=value, unit="", direction="higher", backend="numpy", version=1)
    score = ClipScore(
        id=request.id, key="k", version="0", fingerprint="f", measured_on="file", num_frames=5,
        fps=8.0, height=8, width=8, size=32, lag=1, metrics={"frame.contrast": metric}, skipped={},
    )  # fmt: skip
    return SourceClip(request.id, "k", "0", FakeSidecar(request)), score  # type: ignore[arg-type]


def test_points_are_summed_up_apart(inputs: ManifestInputs):
    def all_scored() -> Iterator[tuple[SourceClip, ClipScore]]:
        requests = SweepInputs(inputs, GRID, no_check).requests(inputs.check())
        for number, request in enumerate(requests):
            assert isinstance(request, ClipRequest)
            yield scored(request, float(number))

    summary = PointSummaries([METRICS["frame.contrast"]], GRID)
    for clip, score in all_scored():
        summary.add(clip, score)
    found: dict[str, Any] = summary.to_dict() or {}
    assert [entry["point"] for entry in found["points"]] == points_of(GRID)
    means = [entry["metrics"]["frame.contrast"]["mean"] for entry in found["points"]]
    assert means == [2.0, 3.0, 4.0, 5.0]  # of the clips 0 and 4, 1 and 5, …
