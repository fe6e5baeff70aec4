"""What step caching gains is measured between clips that cost the same but for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import videogen
from videogen.evaluation import calibration
from videogen.evaluation.calibration import calibrate
from videogen.generator import VideoGenerator
from videogen.models.variant import StepCache, Variant
from videogen.requests import ClipRequest

NOTHING_AGAIN = StepCache("first_block", 0.0)


class Timed(VideoGenerator):
    """A step takes a second; the first clip of a prompt, and with a setting, a minute more."""

    passed_s = 0.0

    def denoise(self, request: ClipRequest, on_step: Any = None) -> Tensor:
        known = self.__dict__.setdefault("known", set())
        new = {request.prompt, self.variant} - known
        known |= new
        self.passed_s += request.num_inference_steps + 60 * len(new)
        return super().denoise(request, on_step)


@pytest.fixture
def generator(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Timed:
    loaded = videogen.load(str(tiny_model), device="cpu")
    timed = Timed(loaded.model, loaded.device, Variant(cache=NOTHING_AGAIN))
    monkeypatch.setattr(calibration, "_clock", lambda device: lambda: timed.passed_s)
    return timed


@pytest.mark.parametrize("num_inference_steps", [1, 6])
def test_what_only_the_first_clips_pay_is_no_gain(generator: Timed, num_inference_steps: int):
    requests = [
        generator.resolve(
            prompt=prompt, seed=1, num_frames=5, num_inference_steps=num_inference_steps
        )
        for prompt in ("a red circle", "a red")
    ]
    for found in calibrate(generator, requests, [NOTHING_AGAIN, StepCache("first_block", 9.0)]):
        assert (found.seconds, found.speedup) == (num_inference_steps, 1.0)
