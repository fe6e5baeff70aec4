"""Stages that are plain functions: what they are called with, and what becomes of their frames."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from videogen.errors import InvalidRequestError
from videogen.foreign import pulse
from videogen.foreign.cascade import Cascade
from videogen.foreign.folder import PipelineFolder
from videogen.foreign.generator import ForeignGenerator
from videogen.foreign.parameters import Parameters
from videogen.foreign.spec import ForeignSpec, Stage

CPU = torch.device("cpu")


class Video:
    """A pipeline whose frames count up, and which rounds and refuses as real ones do."""

    vae_scale_factor_temporal = 4

    def __init__(self) -> None:
        self.called: dict[str, Any] = {}

    def check_inputs(self, height: int) -> None:
        if height % 8:
            raise ValueError(f"`height` has to be divisible by 8 but is {height}.")

    def __call__(
        self,
        prompt: str,
        negative_prompt: str | None = None,
        num_frames: int = 9,
        height: int = 16,
        width: int = 16,
        num_inference_steps: int = 50,
        guidance_scale: float = 6.0,
        generator: torch.Generator | None = None,
        output_type: str = "pil",
        callback_on_step_end: Any = None,
    ) -> Any:
        self.called = dict(locals())
        self.check_inputs(height)
        for step in range(num_inference_steps):
            callback_on_step_end(self, step, None, {"latents": 0})
        noise = torch.rand((), generator=generator)
        frames = np.zeros((num_frames, height, width // 8 * 8, 3), np.float32)
        frames += np.arange(num_frames)[:, None, None, None] / 255
        frames[0] = noise + torch.rand(()) / 1000  # the last draws from the global generator
        return SimpleNamespace(frames=frames[None])


class First:
    """Makes a picture of 8×8 by itself."""

    def __call__(
        self,
        prompt: str,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int = 100,
        guidance_scale: float = 7.0,
        callback: Any = None,
    ) -> Any:
        self.called = dict(locals())
        for step in range(num_inference_steps):
            callback(step, None, None)
        return SimpleNamespace(images=np.full((1, height or 8, width or 8, 3), 0.2))


class Second:
    """Makes it larger, to 32×32."""

    def __call__(
        self,
        image: Any,
        prompt: str | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int = 50,
        guidance_scale: float = 4.0,
    ) -> Any:
        self.called = dict(locals())
        picture = np.asarray(image)
        return SimpleNamespace(images=np.full((1, height or 32, width or 32, 3), picture[0, 0, 0]))


def spec_of(*stages: tuple[Any, dict[str, int]], **sampling: Any) -> ForeignSpec:
    found = tuple(
        Stage(
            PipelineFolder(Path("/models") / type(each).__name__, type(each).__name__, {}, ()),
            Parameters.of(type(each).__call__),
            size,
        )
        for each, size in stages
    )
    return ForeignSpec("diffusers:/models", found, {"fps": 8.0, **stages[-1][1], **sampling})


def video() -> tuple[ForeignGenerator, Video]:
    pipeline = Video()
    size = {"height": 16, "width": 16}
    said = {"num_frames": 9, "num_inference_steps": 50, "guidance_scale": 6.0}
    spec = spec_of((pipeline, size), **said)
    spec.__dict__["_digest"] = "d" * 64  # there are no files
    return ForeignGenerator(Cascade(spec, [pipeline], CPU), CPU), pipeline


def cascade() -> tuple[Cascade, First, Second]:
    first, second = First(), Second()
    spec = spec_of(
        (first, {"height": 8, "width": 8}),
        (second, {"height": 32, "width": 32}),
        num_frames=1,
        num_inference_steps=100,
        guidance_scale=7.0,
    )
    return Cascade(spec, [first, second], CPU), first, second


def resolve(made: Cascade, **fields: Any) -> Any:
    spec = made.spec
    spec.__dict__["_digest"] = "d" * 64
    return ForeignGenerator(made, CPU).resolve(prompt="a red circle", **fields)


def test_the_call_gets_what_the_row_says_and_frames_beyond_its_end_are_cut():
    generator, pipeline = video()
    steps: list[tuple[int, int]] = []
    request = generator.resolve(prompt="p", num_frames=7, num_inference_steps=2, seed=5)
    frames = generator.generate(request, lambda *done: steps.append(done)).to_array()
    assert frames.shape == (7, 16, 16, 3)
    assert frames[1:, 0, 0, 0].tolist() == [1, 2, 3, 4, 5, 6]
    called = pipeline.called
    assert (called["num_frames"], called["num_inference_steps"]) == (9, 2)
    assert called["output_type"] == "np"
    assert called["negative_prompt"] is None
    assert called["generator"].device == CPU
    assert steps == [(1, 2), (2, 2)]


def test_the_seed_alone_decides():
    generator, _ = video()
    torch.manual_seed(99)
    first = generator("p", seed=5).to_array()
    after = torch.rand(())
    torch.manual_seed(99)
    assert after == torch.rand(()), "the caller's random numbers were drawn from"
    np.testing.assert_array_equal(first, generator("p", seed=5).to_array())
    assert (first[0] != generator("p", seed=6).to_array()[0]).any()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"eta": 0.5}, "eta: got 0.5, expected 0.0, because Video does not use it"),
        ({"sampler": "ddim"}, "sampler: got 'ddim', expected 'euler'"),
        ({"flow_shift": 2.0}, "flow_shift: got 2.0"),
        ({"image": "a.png"}, "image: got 'a.png', expected none"),
        ({"loop": True}, "loop: got True"),
        ({"context_frames": 4}, "context_frames: got 4"),
        ({"prompts": [{"at_s": 0, "prompt": "p"}]}, "prompts: got 1 of them"),
        ({"extension": "overlap"}, "extension: got 'overlap'"),
    ],
)
def test_what_a_call_does_not_take_is_refused(fields: dict[str, Any], said: str):
    generator, pipeline = video()
    with pytest.raises(InvalidRequestError) as caught:
        generator("p", **fields)
    assert said in str(caught.value)
    assert not pipeline.called


def test_a_picture_is_one_frame_and_has_no_negative_prompt_here():
    made, _, _ = cascade()
    with pytest.raises(InvalidRequestError, match="num_frames: got 5, expected 1"):
        resolve(made, num_frames=5)
    with pytest.raises(InvalidRequestError, match="negative_prompt: got one, expected none"):
        resolve(made, negative_prompt="blur")
    assert resolve(made, extension="none").num_frames == 1


def test_refusals_and_other_sizes_name_the_field():
    generator, _ = video()
    with pytest.raises(InvalidRequestError, match="Video: refuses the row: `height` has to be"):
        generator("p", height=12)
    with pytest.raises(InvalidRequestError, match="width: got 20, expected 16"):
        generator("p", width=20)


def test_a_cascade_hands_its_picture_on():
    made, first, second = cascade()
    steps: list[tuple[int, int]] = []
    request = resolve(made, num_inference_steps=3)
    frames = made.make(request, lambda *done: steps.append(done))
    assert frames.shape == (1, 32, 32, 3)
    assert (frames == 51).all()  # 0.2 of 255
    assert np.asarray(second.called["image"]).shape == (8, 8, 3)
    assert (first.called["height"], second.called["height"]) == (8, 32)
    assert (first.called["num_inference_steps"], second.called["num_inference_steps"]) == (3, 3)
    assert (first.called["guidance_scale"], second.called["guidance_scale"]) == (7.0, 4.0)
    assert steps[:3] == [(1, 6), (2, 6), (3, 6)]


def test_a_cascade_keeps_the_proportions_of_the_row():
    made, first, _ = cascade()
    request = resolve(made, height=64, width=32, num_inference_steps=1)
    assert made.make(request).shape == (1, 64, 32, 3)
    assert (first.called["height"], first.called["width"]) == (16, 8)
    with pytest.raises(InvalidRequestError, match=r"height: got 40, .* multiple of 32 \(32, 64\)"):
        resolve(made, height=40)


def test_what_a_listener_raises_ends_the_pipeline():
    generator, _ = video()

    def stop(done: int, steps: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generator.generate(generator.resolve(prompt="p"), stop)


def test_a_silent_pipeline_shows_life_and_a_stepping_one_only_by_its_steps(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(pulse, "EVERY_S", 0.01)
    told: list[tuple[int, int]] = []
    with pulse.Pulse(lambda *done: told.append(done), 4).beating() as beat:
        time.sleep(0.1)
        assert set(told) == {(0, 4)}
        beat.step(1, is_silent=False)
        time.sleep(0.02)
        told.clear()
        time.sleep(0.05)
        assert told == []
        beat.step(4, is_silent=True)
        time.sleep(0.1)
        assert len(told) > 2
        assert set(told) == {(4, 4)}
