from __future__ import annotations

import pytest
import torch

from videogen.diffusion.process import VariancePreserving
from videogen.diffusion.schedules import (
    BETAS,
    SPACINGS,
    cosine_betas,
    flow_sigmas,
    karras_sigmas,
    linear_betas,
    scaled_linear_betas,
    shift_sigmas,
    vp_sigmas,
)
from videogen.errors import ConfigError

VP = VariancePreserving.from_betas(linear_betas())
SCHEDULES = {
    "flow": lambda n: flow_sigmas(n, shift=3.0),
    "karras": lambda n: karras_sigmas(n, 0.01, 80.0),
    "leading": lambda n: vp_sigmas(VP, n, "leading"),
    "trailing": lambda n: vp_sigmas(VP, n, "trailing"),
    "linspace": lambda n: vp_sigmas(VP, n, "linspace"),
}


@pytest.mark.parametrize("num_steps", [1, 2, 3, 7, 50, 61, 1000])
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_has_n_plus_1_values_that_fall_to_0(name, num_steps):
    sigmas = SCHEDULES[name](num_steps)
    assert sigmas.shape == (num_steps + 1,)
    assert sigmas.dtype == torch.float64
    assert sigmas[-1] == 0
    assert bool((sigmas.diff() < 0).all())


@pytest.mark.parametrize("name", SCHEDULES)
def test_no_steps_are_refused(name):
    with pytest.raises(ConfigError, match="num_inference_steps: got 0"):
        SCHEDULES[name](0)


def test_more_steps_than_were_trained_are_refused():
    with pytest.raises(ConfigError, match="got 1001, expected 1 to 1000"):
        vp_sigmas(VP, 1001)


def test_linear_betas_run_from_first_to_last():
    betas = linear_betas(5, 0.1, 0.5)
    torch.testing.assert_close(betas, torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5]).double())


def test_scaled_linear_betas_are_linear_in_their_roots():
    betas = scaled_linear_betas(3, 0.01, 0.09)
    torch.testing.assert_close(betas, torch.tensor([0.01, 0.04, 0.09]).double())


def test_cosine_betas_are_capped_at_the_end():
    betas = cosine_betas()
    assert betas.max() == betas[-1] == 0.999
    halfway = VariancePreserving.from_betas(betas).alpha_bars[499]
    assert halfway.item() == pytest.approx(0.4938, abs=1e-4)


def test_timestep_spacings():
    def timesteps(spacing, offset=0):
        return VP.timestep(vp_sigmas(VP, 4, spacing, offset)[:-1]).tolist()

    assert timesteps("leading") == [750, 500, 250, 0]
    assert timesteps("leading", offset=1) == [751, 501, 251, 1]
    assert timesteps("trailing") == [999, 749, 499, 249]
    assert timesteps("linspace") == [999, 666, 333, 0]


@pytest.mark.parametrize("offset", [-1, 1])
def test_an_offset_out_of_the_table_is_refused(offset):
    with pytest.raises(ConfigError, match="steps_offset"):
        vp_sigmas(VP, 4, "linspace", offset)


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match="'trailing'"):
        SPACINGS["trailin"]
    with pytest.raises(ConfigError, match="cosine, linear, scaled_linear"):
        BETAS["sigmoid"]


def test_flow_sigmas_are_even_before_the_shift():
    torch.testing.assert_close(
        flow_sigmas(4), torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0]).double(), rtol=0, atol=1e-12
    )
    shifted = flow_sigmas(4, shift=3.0)
    torch.testing.assert_close(shifted, torch.tensor([1, 0.9, 0.75, 0.5, 0]).double())
    assert flow_sigmas(4, sigma_max=0.8)[0].item() == pytest.approx(0.8)
    assert flow_sigmas(4, sigma_min=0.2)[3].item() == pytest.approx(0.4)


def test_shifts_compose_and_keep_the_ends():
    sigmas = torch.linspace(0, 1, 11, dtype=torch.float64)
    assert shift_sigmas(sigmas, 5.0)[[0, -1]].tolist() == [0, 1]
    twice = shift_sigmas(shift_sigmas(sigmas, 2.0), 3.0)
    torch.testing.assert_close(twice, shift_sigmas(sigmas, 6.0))


def test_karras_sigmas_are_even_in_the_rho_th_root():
    sigmas = karras_sigmas(5, 0.002, 80.0)
    assert sigmas[0].item() == pytest.approx(80.0)
    assert sigmas[-2].item() == pytest.approx(0.002)
    gaps = (sigmas[:-1] ** (1 / 7)).diff()
    torch.testing.assert_close(gaps, gaps[:1].expand(4))
