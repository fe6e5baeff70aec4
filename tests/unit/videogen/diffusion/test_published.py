from __future__ import annotations

from typing import Any

import pytest
import torch

from videogen.diffusion.process import RectifiedFlow, VariancePreserving
from videogen.diffusion.published import (
    READERS,
    DiffusionSchedule,
    FlowSchedule,
    read_schedule,
)
from videogen.errors import ConfigError
from videogen.models.published_spec import SAMPLERS

UNIPC: dict[str, Any] = {
    "_class_name": "UniPCMultistepScheduler",
    "prediction_type": "flow_prediction",
    "use_flow_sigmas": True,
    "flow_shift": 3.0,
    "solver_order": 2,
    "solver_type": "bh2",
}
EULER: dict[str, Any] = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 5.0}
DDIM: dict[str, Any] = {"_class_name": "DDIMScheduler", "clip_sample": False}


def test_unipc_is_a_shifted_flow_with_whole_timesteps():
    schedule = read_schedule(UNIPC, "x")
    assert isinstance(schedule, FlowSchedule)
    assert (schedule.sampler, schedule.prediction) == ("unipc", "flow")
    sigmas = schedule.sigmas(2)
    middle = (1 + 0.001) / 2
    expected = [1 - 1e-6, 3 * middle / (1 + 2 * middle), 0.0]
    torch.testing.assert_close(sigmas, torch.tensor(expected, dtype=torch.float64))
    assert schedule.path.timestep(sigmas[:2]).tolist() == [999, 750]


def test_a_shift_that_is_asked_for_replaces_the_schedules_own():
    schedule = read_schedule(UNIPC, "x")
    other = read_schedule(UNIPC | {"flow_shift": 8.0}, "x")
    assert torch.equal(schedule.sigmas(7, flow_shift=8.0), other.sigmas(7))
    assert not torch.equal(schedule.sigmas(7), other.sigmas(7))


def test_euler_steps_at_the_least_noisy_level_of_training():
    schedule = read_schedule(EULER, "x")
    sigmas = schedule.sigmas(4)
    once = 5 * 0.001 / (1 + 4 * 0.001)
    assert sigmas[-2].item() == pytest.approx(5 * once / (1 + 4 * once))
    assert (sigmas[0], sigmas[-1]) == (1, 0)
    assert schedule.path.timestep(sigmas[1:2]).item() % 1 > 0
    assert schedule.sigmas(1).tolist() == [1, 0]


def test_ddim_names_its_timesteps():
    schedule = read_schedule(DDIM | {"steps_offset": 1}, "x")
    assert isinstance(schedule, DiffusionSchedule)
    assert (schedule.sampler, schedule.prediction) == ("ddim", "epsilon")
    sigmas = schedule.sigmas(4)
    assert schedule.path.timestep(sigmas[:-1]).tolist() == [751, 501, 251, 1]
    assert sigmas[-1] == 0


def test_ddim_may_end_at_the_first_level():
    path = VariancePreserving.from_betas(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64))
    ends = DDIM | {"set_alpha_to_one": False}
    assert read_schedule(ends | {"steps_offset": 1}, "x").sigmas(4)[-1] == path.sigmas[0]
    # Its last timestep is that level: there is nothing left to do.
    assert len(read_schedule(ends, "x").sigmas(4)) == 4


def test_v_prediction_and_other_betas_are_understood():
    config = DDIM | {"prediction_type": "v_prediction", "beta_schedule": "scaled_linear"}
    schedule = read_schedule(config | {"beta_start": 0.00085, "beta_end": 0.012}, "x")
    assert schedule.prediction == "v"
    assert isinstance(schedule.path, VariancePreserving)
    assert schedule.path.alpha_bars[0].item() == pytest.approx(1 - 0.00085)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"_class_name": "LCMScheduler"}, "_class_name: got 'LCMScheduler', expected one of"),
        ({}, "_class_name: got 'None'"),
        (UNIPC | {"use_flow_sigmas": False}, "use_flow_sigmas: got False, expected True"),
        (UNIPC | {"use_karras_sigmas": True}, "use_karras_sigmas: got True"),
        (UNIPC | {"solver_order": 3}, "solver_order: got 3, expected 2"),
        (UNIPC | {"disable_corrector": [0]}, r"disable_corrector: got \[0\]"),
        (EULER | {"use_dynamic_shifting": True}, "use_dynamic_shifting: got True"),
        (DDIM | {"clip_sample": True}, "clip_sample: got True, expected False"),
        ({"_class_name": "DDIMScheduler"}, "clip_sample: got None, expected False"),
        (DDIM | {"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr: got True"),
        (DDIM | {"beta_schedule": "sigmoid"}, "beta_schedule: got 'sigmoid', expected linear or"),
    ],
)
def test_what_would_change_the_result_is_refused(config, problem):
    with pytest.raises(ConfigError, match=f"folder/scheduler: {problem}"):
        read_schedule(config, "folder/scheduler")


def test_whole_timesteps_are_rounded_down_and_stay_below_the_last():
    sigmas = torch.tensor([1.0, 0.9999, 0.5004, 0.0])
    assert RectifiedFlow(whole_timesteps=True).timestep(sigmas).tolist() == [999, 999, 500, 0]
    assert RectifiedFlow().timestep(sigmas)[1].item() == pytest.approx(999.9)


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_descriptions_name_the_sampler_of_their_schedule(name):
    own = DDIM if name.startswith("DD") else UNIPC
    assert read_schedule(own | {"_class_name": name}, "x").sampler == SAMPLERS[name]
    assert set(SAMPLERS) == set(READERS)
