"""Calls of pipelines, read from their signatures."""

from __future__ import annotations

from typing import Any

from videogen.foreign.parameters import Parameters


def of_pictures(
    self: Any,
    prompt: str | None = None,
    height: int | None = None,
    width: int | None = None,
    num_inference_steps: int = 28,
    guidance_scale: float = 7.0,
    generator: Any = None,
    output_type: str = "pil",
    callback_on_step_end: Any = None,
    **kwargs: Any,
) -> None: ...


def of_videos(
    prompt: str,
    video_length: int = 16,
    frame_rate: float = 25,
    negative_prompt: str | None = None,
    true_cfg_scale: float = 1.0,
    callback: Any = None,
) -> None: ...


def of_masks(prompt: str, mask_image: Any, image: Any = None) -> None: ...


def test_fields_are_found_under_the_names_of_the_call():
    found = Parameters.of(of_pictures)
    assert set(found.names) == {
        "prompt",
        "height",
        "width",
        "num_inference_steps",
        "guidance_scale",
    }
    assert found.defaults == {"num_inference_steps": 28, "guidance_scale": 7.0}
    assert found.callback == "callback_on_step_end"
    assert found.flags == {"generator", "output_type"}
    assert found.unknown == ()


def test_other_names_and_a_negative_prompt_that_does_nothing():
    found = Parameters.of(of_videos)
    assert found.names == {"prompt": "prompt", "num_frames": "video_length", "fps": "frame_rate"}
    assert found.defaults == {"num_frames": 16, "fps": 25}
    assert found.callback == "callback"


def test_what_no_row_can_say_is_named():
    assert Parameters.of(of_masks).unknown == ("mask_image",)
