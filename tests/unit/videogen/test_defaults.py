"""Sampling defaults: the model's word over the package's."""

from __future__ import annotations

import pytest

from videogen.defaults import PACKAGE_DEFAULTS, sampling_defaults
from videogen.errors import ConfigError


def test_what_a_model_recommends_wins() -> None:
    defaults = sampling_defaults("m", {"num_frames": 81, "guidance_interval": [0.0, 0.5]})
    assert defaults.num_frames == 81
    assert defaults.guidance_interval == (0.0, 0.5)
    assert defaults.fps == PACKAGE_DEFAULTS.fps


def test_every_field_has_a_value_but_those_that_the_model_decides() -> None:
    values = sampling_defaults("m", {}).model_dump()
    unsaid = {name for name, value in values.items() if value is None}
    assert unsaid == {
        "chunk_frames",
        "context_frames",
        "context_guidance",
        "context_noise",
        "flow_shifts",
    }


def test_what_is_no_sampling_field_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model m: sampling: steps: .*unknown"):
        sampling_defaults("m", {"steps": 3})
