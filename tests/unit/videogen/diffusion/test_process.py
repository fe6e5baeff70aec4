from __future__ import annotations

import pytest
import torch

from videogen.diffusion.process import RectifiedFlow, VariancePreserving, add_noise, per_frame
from videogen.diffusion.schedules import BETAS, linear_betas
from videogen.errors import ConfigError

VP = VariancePreserving.from_betas(linear_betas())
FLOW = RectifiedFlow()


@pytest.mark.parametrize("name", list(BETAS))
def test_variance_is_preserved_at_every_timestep(name):
    path = VariancePreserving.from_betas(BETAS[name]())
    signal, noise = path.coefficients(path.sigmas)
    torch.testing.assert_close(signal**2 + noise**2, torch.ones_like(signal), rtol=0, atol=1e-12)
    torch.testing.assert_close(signal**2, path.alpha_bars, rtol=1e-9, atol=0)


def test_unit_variance_data_stays_unit_variance_when_noised():
    generator = torch.Generator().manual_seed(0)
    x0, epsilon = torch.randn(2, 1, 4, 1, 500, 100, generator=generator)
    sigma = VP.sigmas[[0, 300, 600, 999]].float()[None]
    variance = add_noise(VP, x0, epsilon, sigma).var(dim=(0, 1, 3, 4))
    torch.testing.assert_close(variance, torch.ones(4), rtol=0.03, atol=0)


def test_signal_fraction_of_0_36_gives_0_6_and_0_8():
    path = VariancePreserving(torch.tensor([0.99, 0.36], dtype=torch.float64))
    signal, noise = path.coefficients(path.sigmas[1])
    assert signal.item() == pytest.approx(0.6, abs=1e-12)
    assert noise.item() == pytest.approx(0.8, abs=1e-12)


def test_flow_is_the_line_from_data_to_noise():
    x0, epsilon = torch.tensor(3.0), torch.tensor(-1.0)
    points = [add_noise(FLOW, x0, epsilon, torch.tensor(s)).item() for s in (0.0, 0.25, 0.5, 1.0)]
    assert points == [3.0, 2.0, 1.0, -1.0]


@pytest.mark.parametrize("path", [VP, FLOW], ids=["vp", "flow"])
def test_a_path_over_its_scale_is_straight_in_sigma(path):
    """The property that lets solvers step in sigma knowing the coefficients alone."""
    sigma = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
    signal, noise = path.coefficients(sigma)
    x0, epsilon = 1.7, -0.4
    line = (signal * x0 + noise * epsilon) / (noise / sigma)
    slopes = line.diff() / sigma.diff()
    torch.testing.assert_close(slopes, slopes[:1].expand(6), rtol=1e-9, atol=0)
    start = line[0] - sigma[0] * slopes[0]
    assert start.item() == pytest.approx(x0)


def test_timesteps_of_a_variance_preserving_path_are_the_integers_of_its_table():
    assert torch.equal(VP.timestep(VP.sigmas), torch.arange(1000, dtype=torch.float64))
    assert torch.equal(VP.timestep(VP.sigmas.float()), torch.arange(1000, dtype=torch.float32))
    between = (VP.sigmas[500] * 0.9 + VP.sigmas[501] * 0.1).reshape(1, 1)
    assert VP.timestep(between).tolist() == [[500.0]]
    assert VP.timestep(torch.tensor([0.0, 1e9])).tolist() == [0.0, 999.0]


def test_timesteps_of_a_flow_are_a_thousand_sigmas():
    assert FLOW.timestep(torch.tensor([0.0, 0.0625, 1.0])).tolist() == [0.0, 62.5, 1000.0]


def test_levels_span_both_paths():
    level = torch.tensor([[0.0, 0.5, 0.9999, 1.0]])
    assert torch.equal(FLOW.sigma_at(level), level)
    expected = VP.sigmas[[0, 500, 999, 999]].float()[None]
    assert torch.equal(VP.sigma_at(level), expected)


def test_frames_carry_their_own_level():
    x0, epsilon = torch.ones(2, 3, 2, 4, 4), torch.zeros(2, 3, 2, 4, 4)
    sigma = torch.tensor([[0.0, 0.25], [0.5, 1.0]])
    x = add_noise(FLOW, x0, epsilon, sigma)
    assert torch.equal(x[:, 0, :, 0, 0], 1 - sigma)
    assert torch.equal(x.amin(dim=(1, 3, 4)), x.amax(dim=(1, 3, 4)))


def test_per_frame_refuses_levels_it_cannot_place():
    assert per_frame(torch.tensor(0.5)).shape == ()
    assert per_frame(torch.zeros(2, 5)).shape == (2, 1, 5, 1, 1)
    with pytest.raises(ConfigError, match=r"sigma: got shape \(2,\), expected"):
        per_frame(torch.zeros(2))


@pytest.mark.parametrize("table", [[0.5, 0.9], [1.0, 0.5], [0.5, 0.0], [0.5, 0.5], [0.5]])
def test_a_table_that_does_not_fall_is_refused(table):
    with pytest.raises(ConfigError, match="alpha_bars"):
        VariancePreserving(torch.tensor(table))
