"""Sampling defaults, and the version of what sampling means; torch-free, so planning is quick."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from videogen.errors import ConfigError
from videogen.requests import SamplingDefaults, find_problems

SAMPLER_VERSION = "3"
"""Part of every clip id; changes when the same request would give other pixels."""

PACKAGE_DEFAULTS = SamplingDefaults(
    negative_prompt="",
    num_frames=17,
    height=64,
    width=64,
    fps=12.0,
    num_inference_steps=16,
    guidance_scale=3.0,
    guidance_rescale=0.0,
    guidance_interval=(0.0, 1.0),
    sampler="euler",
    flow_shift=1.0,
    eta=0.0,
    extension="auto",
    async_steps=0,
    anchor=0.0,
)


def sampling_defaults(model: str, recommended: Mapping[str, Any]) -> SamplingDefaults:
    """Package defaults, overridden by what a model recommends for itself.

    Args:
        model: name of the model, for the error message.
        recommended: `ModelSpec.sampling`.

    Raises:
        ConfigError: the model recommends something that is no sampling field.
    """
    try:
        return PACKAGE_DEFAULTS.merged(SamplingDefaults.model_validate(dict(recommended)))
    except ValidationError as error:
        problems = "; ".join(map(str, find_problems(error, SamplingDefaults)))
        raise ConfigError(f"model {model}: sampling: {problems}") from error
