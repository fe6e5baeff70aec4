from __future__ import annotations

import pytest
import torch
from torch import Tensor

from videogen.diffusion.guidance import guide, interval_sigmas, rescale_guidance, with_guidance
from videogen.diffusion.objectives import to_denoised
from videogen.diffusion.process import RectifiedFlow, VariancePreserving
from videogen.diffusion.schedules import flow_sigmas, linear_betas
from videogen.diffusion.solvers import SOLVERS
from videogen.errors import ConfigError

FLOW = RectifiedFlow()
VP = VariancePreserving.from_betas(linear_betas())


class Counting:
    """A denoiser that pulls x halfway to a target and counts its calls."""

    def __init__(self, target: float) -> None:
        self.target = target
        self.sigmas: list[float] = []

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.sigmas.append(float(sigma))
        return (x + self.target) / 2


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_textbook_number():
    guided = guide(torch.tensor(0.50), torch.tensor(0.20), 7.5)
    assert guided.item() == pytest.approx(2.45, abs=1e-6)


def test_scale_1_is_conditional_and_0_unconditional_to_the_last_bit():
    conditional, unconditional = normal(0, 1000) * 1e3, normal(1, 1000)
    assert torch.equal(guide(conditional, unconditional, 1.0), conditional)
    assert torch.equal(guide(conditional, unconditional, 0.0), unconditional)


@pytest.mark.parametrize("objective", ["epsilon", "v", "x0", "flow"])
@pytest.mark.parametrize("path", [VP, FLOW], ids=["vp", "flow"])
def test_guiding_estimates_is_guiding_predictions(path, objective):
    x, conditional, unconditional = (normal(seed, 2, 3, 4, 5, 6).double() for seed in range(3))
    sigma = torch.tensor(0.7, dtype=torch.float64)

    def denoised(prediction: Tensor) -> Tensor:
        return to_denoised(prediction, x, sigma, path, objective)

    of_estimates = guide(denoised(conditional), denoised(unconditional), 5.0)
    of_predictions = denoised(guide(conditional, unconditional, 5.0))
    torch.testing.assert_close(of_estimates, of_predictions)


def test_rescaling_restores_the_contrast_of_each_sample():
    conditional = (
        normal(0, 3, 4, 5, 6, 7) * torch.tensor([1.0, 2.0, 3.0])[:, None, None, None, None]
    )
    guided = guide(conditional, normal(1, 3, 4, 5, 6, 7), 7.5)
    std = guided.flatten(1).std(1)
    assert bool((std > 2 * conditional.flatten(1).std(1)).all())
    fully = rescale_guidance(guided, conditional, 1.0)
    torch.testing.assert_close(fully.flatten(1).std(1), conditional.flatten(1).std(1))
    half = rescale_guidance(guided, conditional, 0.5)
    torch.testing.assert_close(half, (guided + fully) / 2)
    assert rescale_guidance(guided, conditional, 0.0) is guided


@pytest.mark.parametrize(
    ("interval", "steps"),
    [
        ((0.0, 1.0), range(10)),
        ((0.0, 0.3), range(3)),
        ((0.7, 1.0), range(7, 10)),
        ((0.25, 0.55), range(3, 6)),
        ((0.5, 0.5), range(0)),
        ((1.0, 1.0), range(0)),
    ],
)
def test_the_interval_counts_steps(interval, steps):
    sigmas = flow_sigmas(10, shift=3.0)
    low, high = interval_sigmas(sigmas, interval)
    assert [i for i in range(10) if low < sigmas[i] <= high] == list(steps)


@pytest.mark.parametrize("interval", [(-0.1, 1.0), (0.0, 1.1), (0.6, 0.5)])
def test_an_interval_outside_the_steps_is_refused(interval):
    with pytest.raises(ConfigError, match="guidance_interval"):
        interval_sigmas(flow_sigmas(10), interval)


def sample(sampler: str, denoiser, sigmas: Tensor) -> Tensor:
    return SOLVERS[sampler](
        denoiser, normal(0, 8), sigmas, path=FLOW, noise=lambda step: normal(step, 8)
    )


@pytest.mark.parametrize("sampler", list(SOLVERS))
def test_the_unconditional_pass_is_skipped_outside_the_interval(sampler):
    sigmas = flow_sigmas(10)
    conditional, unconditional = Counting(1.0), Counting(-1.0)
    sigma_range = interval_sigmas(sigmas, (0.2, 0.5))
    denoiser = with_guidance(conditional, unconditional, 4.0, sigma_range=sigma_range)
    sample(sampler, denoiser, sigmas)
    assert set(unconditional.sigmas) == set(sigmas[2:5].tolist())
    assert set(conditional.sigmas) == set(sigmas[:-1].tolist())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("path", [VP, FLOW], ids=["vp", "flow"])
def test_levels_of_either_precision_are_guided_in_the_same_steps(path, dtype):
    sigmas = torch.cat([VP.sigmas.flip(0)[::50], torch.zeros(1)]) if path is VP else flow_sigmas(20)
    assert sigmas.dtype == torch.float64
    conditional, unconditional = Counting(1.0), Counting(-1.0)
    sigma_range = interval_sigmas(sigmas, (0.0, 0.5))
    denoiser = with_guidance(conditional, unconditional, 4.0, sigma_range=sigma_range)
    levels = sigmas[:-1].to(dtype)
    for sigma in levels:
        denoiser(normal(0, 8), sigma)
    assert unconditional.sigmas == levels[:10].tolist()


def test_at_scale_1_the_unconditional_denoiser_is_never_called():
    sigmas = flow_sigmas(4)
    conditional, unconditional = Counting(1.0), Counting(-1.0)
    end = sample("euler", with_guidance(conditional, unconditional, 1.0), sigmas)
    assert unconditional.sigmas == []
    assert torch.equal(end, sample("euler", Counting(1.0), sigmas))


def test_guided_estimate_is_guided_and_rescaled():
    x, sigma = normal(0, 2, 50), torch.tensor(0.5)
    denoiser = with_guidance(Counting(1.0), lambda x, sigma: -x, 3.0, rescale=0.7)
    positive = (x + 1) / 2
    expected = rescale_guidance(guide(positive, -x, 3.0), positive, 0.7)
    assert torch.equal(denoiser(x, sigma), expected)
