"""The loop over tries, on the rank that leads and on one that helps."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from videogen.errors import MediaError
from videogen.evaluation import Evaluator
from videogen.media import write_video
from videogen.requests import ClipRequest
from videogen_pipelines.evaluation.frame_scorer import FrameScorer
from videogen_pipelines.evaluation.gate import Gate
from videogen_pipelines.evaluation.tries import ClipOutput, Made, Tries
from videogen_pipelines.sidecar import ModelStamp, Provenance, Timings

REQUEST = ClipRequest(
    id="a", prompt="p", seed=7, num_frames=5, height=32, width=32, fps=8.0,
    num_inference_steps=1, guidance_scale=1.0, sampler="euler",
)  # fmt: skip
COLOURFUL = Gate({"frame.colourfulness": ">= 30"}, max_tries=3)


class FakeSink:
    """Notes what happens to it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def put(self, frames: np.ndarray) -> None:
        self.calls.append(f"put {len(frames)}")

    def close(self) -> float:
        self.calls.append("close")
        return 0.5

    def abort(self) -> None:
        self.calls.append("abort")


def frames(red: int, count: int = 5) -> np.ndarray:
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:, 16:, 0] = red
    return np.repeat(picture[None], count, axis=0)


def made(request: ClipRequest, pictures: np.ndarray, folder: Path) -> Made:
    scorer = FrameScorer(Evaluator(["frame.colourfulness"]), 8.0, "p")
    output = ClipOutput(FakeSink(), scorer)  # type: ignore[arg-type]
    output.put(pictures)
    stamp = ModelStamp(name="tiny", digest="d")
    timings = Timings(denoise_s=1.0, decode_s=0.25)
    provenance = Provenance(REQUEST, "c", stamp, "1", timings=timings, gpu_s=2.0)
    path = folder / f"{request.seed}.mp4"
    path.write_bytes(b"clip")
    return Made(request, output, path, provenance)


def run(gate: Gate | None, reds: list[int], folder: Path) -> tuple[Tries, list[Made]]:
    tries, all_made = Tries(gate, REQUEST, lambda said: said, nullcontext), []
    for number, request in tries:
        all_made.append(made(request, frames(reds[number - 1]), folder))
        tries.add(number, all_made[-1])
    return tries, all_made


def calls(one: Made) -> list[str]:
    sink: Any = one.output._sink
    return sink.calls


def test_without_a_gate_there_is_one_try_without_history(tmp_path: Path):
    tries, (only,) = run(None, [9], tmp_path)
    assert tries.kept() is only
    assert only.provenance.tries is None


def test_tries_end_with_the_first_that_is_accepted(tmp_path: Path):
    tries, all_made = run(COLOURFUL, [20, 255, 255], tmp_path)
    assert len(all_made) == 2
    kept = tries.kept()
    assert kept is not None
    assert kept.path == all_made[1].path
    history = kept.provenance.tries
    assert history is not None
    assert (history.chosen, history.accepted) == (2, True)
    assert kept.provenance.gpu_s == 4.0  # of both
    assert kept.provenance.timings.denoise_s == 2.0
    assert "abort" in calls(all_made[0])
    assert "abort" not in calls(all_made[1])
    assert [one.path.exists() for one in all_made] == [False, True]


def test_of_rejected_tries_the_nearest_is_kept_whenever_it_came(tmp_path: Path):
    tries, all_made = run(COLOURFUL, [10, 40, 20], tmp_path)
    kept = tries.kept()
    assert kept is not None
    assert kept.path == all_made[1].path
    assert [one.path.exists() for one in all_made] == [False, True, False]
    history = kept.provenance.tries
    assert history is not None
    assert [one.accepted for one in history.tries] == [False] * 3


def test_a_rank_that_helps_follows_what_the_first_one_says():
    answers = iter([False, True])
    tries = Tries(COLOURFUL, REQUEST, lambda said: next(answers), nullcontext)
    seeds = []
    for number, request in tries:
        seeds.append(request.seed)
        tries.add(number, None)
    assert (len(seeds), seeds[0]) == (2, 7)
    assert tries.kept() is None


def test_dropping_leaves_nothing(tmp_path: Path):
    tries = Tries(COLOURFUL, REQUEST, lambda said: said, nullcontext)
    first = made(REQUEST, frames(10), tmp_path)
    tries.add(1, first)
    tries.drop()
    assert not first.path.exists()
    assert tries.kept() is None


def test_a_clip_that_was_resumed_is_scored_from_its_whole_file(tmp_path: Path):
    one = made(REQUEST, frames(255, count=2), tmp_path)
    write_video(one.path, iter([frames(60)]), fps=8)
    metrics = one.metrics()
    assert metrics is not None
    assert not one.is_seen
    assert metrics.num_frames == 5
    whole = Evaluator(["frame.colourfulness"]).evaluate(frames(60), 8.0)
    assert metrics["frame.colourfulness"].value == pytest.approx(
        whole["frame.colourfulness"].value, rel=0.1
    )
    one.output.close()
    assert calls(one).count("close") == 1


def test_frames_that_cannot_be_scored_are_an_error_where_it_is_waited_for(tmp_path: Path):
    scorer = FrameScorer(Evaluator(["frame.colourfulness"]), 8.0, None)
    for _ in range(9):  # never waits, although the first of them ends the scoring
        scorer.put(np.zeros((1, 8, 8, 3), np.float32))
    with pytest.raises(MediaError, match="expected uint8"):
        scorer.finish()
    scorer.abort()
