"""Facts about the samplers that need no reference implementation, on densities solved by hand."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from videogen.diffusion.denoiser import Denoiser, as_denoiser
from videogen.diffusion.objectives import to_prediction
from videogen.diffusion.process import NoisePath, RectifiedFlow, VariancePreserving
from videogen.diffusion.schedules import flow_sigmas, linear_betas, vp_sigmas
from videogen.diffusion.solvers import SOLVERS
from videogen.errors import ConfigError

VP = VariancePreserving.from_betas(linear_betas())
FLOW = RectifiedFlow()
PATHS = pytest.mark.parametrize("path", [VP, FLOW], ids=["vp", "flow"])
ALL = pytest.mark.parametrize("sampler", list(SOLVERS))
CENTRES, WIDTH = torch.tensor([[-2.0, 0.0], [2.0, 0.0]]), 0.4


def falling_sigmas(path: NoisePath, num_steps: int) -> Tensor:
    return vp_sigmas(VP, num_steps) if path is VP else flow_sigmas(num_steps)


def gaussian_denoiser(path: NoisePath, mean: float, std: float) -> Denoiser:
    """E[x0 | x] for x0 ~ N(mean, std^2)."""

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        signal, noise = path.coefficients(sigma)
        return (signal * x * std**2 + noise**2 * mean) / (signal**2 * std**2 + noise**2)

    return denoise


def mixture_denoiser(path: NoisePath) -> Denoiser:
    """E[x0 | x], x0 from two round Gaussians in the plane; x is `b 2 1 1 1`."""

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        signal, noise = (value.to(x) for value in path.coefficients(sigma))
        points = x.flatten(1)[:, None]
        variance = signal**2 * WIDTH**2 + noise**2
        distances = ((points - signal * CENTRES) ** 2).sum(-1)
        weights = torch.softmax(-distances / (2 * variance), dim=1)
        estimates = (signal * WIDTH**2 * points + noise**2 * CENTRES) / variance
        return (weights[..., None] * estimates).sum(1).reshape(x.shape)

    return denoise


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def sample_mixture(sampler: str, path: NoisePath, denoiser: Denoiser | None = None, noise=None):
    shape = (3000, 2, 1, 1, 1)
    end = SOLVERS[sampler](
        denoiser or mixture_denoiser(path),
        normal(0, *shape),
        falling_sigmas(path, 40),
        path=path,
        noise=noise or (lambda step: normal(step + 1, *shape)),
        eta=0.5,
    )
    return end.flatten(1)


def spread(points: Tensor) -> float:
    """Mean distance from the centre of the nearer mode."""
    return torch.cdist(points, CENTRES).amin(1).mean().item()


@ALL
@pytest.mark.parametrize(
    ("path", "objective"),
    # All but epsilon on a flow: at its sigma of 1 the noise says nothing about the data.
    [
        (VP, "epsilon"),
        (VP, "v"),
        (VP, "x0"),
        (VP, "flow"),
        (FLOW, "v"),
        (FLOW, "x0"),
        (FLOW, "flow"),
    ],
)
def test_every_sampler_works_on_every_model(sampler, path, objective):
    """A model that predicts exactly, told only timesteps: the samples follow the mixture."""
    exact = mixture_denoiser(path)

    def model(latents: Tensor, timesteps: Tensor) -> Tensor:
        told = timesteps[0, 0].double()
        sigma = told / 1000 if path is FLOW else VP.sigmas[int(told)]
        return to_prediction(exact(latents, sigma), latents, sigma, path, objective)

    points = sample_mixture(sampler, path, as_denoiser(model, path, objective))
    is_right = points[:, 0] > 0
    assert is_right.float().mean().item() == pytest.approx(0.5, abs=0.05)
    for side, centre in ((points[is_right], CENTRES[1]), (points[~is_right], CENTRES[0])):
        torch.testing.assert_close(side.mean(0), centre, rtol=0, atol=0.06)
        if sampler == "lcm":  # which varies less than the data, as its description says
            assert ((side.std(0) > 0.4 * WIDTH) & (side.std(0) < 0.9 * WIDTH)).all()
        else:
            torch.testing.assert_close(side.std(0), torch.full((2,), WIDTH), rtol=0, atol=0.08)


@PATHS
def test_ddpm_without_its_noise_collapses_and_ddim_does_not(path):
    true_spread = WIDTH * (torch.pi / 2) ** 0.5  # mean of a Rayleigh distribution
    silent = sample_mixture("ddpm", path, noise=lambda step: torch.zeros(()))
    assert silent[:, 1].std().item() < 0.02 * WIDTH
    for sampler in ("ddpm", "ddim"):
        assert spread(sample_mixture(sampler, path)) == pytest.approx(true_spread, rel=0.15)


def error(sampler: str, path: NoisePath, num_steps: int) -> float:
    """Largest distance from the exact flow of a Gaussian, between levels where lambda is finite."""
    mean, std = 1.5, 0.5
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    low, high = (0.05, 0.95) if path is FLOW else (-1.0, 1.5)
    sigmas = torch.linspace(high, low, num_steps + 1, dtype=torch.float64)
    sigmas = sigmas if path is FLOW else 10**sigmas
    end = SOLVERS[sampler](gaussian_denoiser(path, mean, std), x, sigmas, path=path)
    (a, b), (a_end, b_end) = (path.coefficients(sigmas[i]) for i in (0, -1))
    standardised = (x - a * mean) / (a**2 * std**2 + b**2).sqrt()
    exact = a_end * mean + (a_end**2 * std**2 + b_end**2).sqrt() * standardised
    return (end - exact).abs().max().item()


@PATHS
@pytest.mark.parametrize(
    ("sampler", "order"),
    [("euler", 1), ("ddim", 1), ("heun", 2), ("dpmpp_2m", 2), ("unipc", 2)],
)
def test_order_of_convergence(sampler, order, path):
    ratio = error(sampler, path, 200) / error(sampler, path, 400)
    assert ratio == pytest.approx(2**order, rel=0.1)


@PATHS
@ALL
def test_a_solver_reports_every_step_once_its_work_is_done(sampler, path):
    events = []
    denoise = gaussian_denoiser(path, 0.0, 1.0)

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        events.append("model")
        return denoise(x, sigma)

    SOLVERS[sampler](
        denoiser,
        normal(0, 4),
        falling_sigmas(path, 3),
        path=path,
        noise=lambda step: normal(step, 4),
        callback=lambda step, total: events.append((step, total)),
    )
    evaluations = ["model"] * (2 if sampler == "heun" else 1)
    assert events == [*evaluations, (1, 3), *evaluations, (2, 3), "model", (3, 3)]


@ALL
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_shape_and_dtype_are_kept(sampler, dtype):
    x = normal(0, 2, 3, 4).to(dtype)
    end = SOLVERS[sampler](
        lambda x, sigma: x / 2,
        x,
        flow_sigmas(4),
        path=FLOW,
        noise=lambda step: normal(step, 2, 3, 4),
    )
    assert (end.dtype, end.shape) == (dtype, x.shape)


@PATHS
@ALL
def test_the_last_step_lands_on_the_last_estimate(sampler, path):
    """Also in one step, and from pure noise, where lambda is infinite: no NaN, no residue."""
    for num_steps in (1, 2, 5):
        end = SOLVERS[sampler](
            lambda x, sigma: torch.full_like(x, 3.0),
            normal(0, 4),
            falling_sigmas(path, num_steps),
            path=path,
            noise=lambda step: normal(step, 4),
        )
        assert torch.equal(end, torch.full((4,), 3.0))


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "unipc"])
def test_starting_at_pure_noise_is_the_limit_of_starting_just_below(sampler):
    def end(sigma_max: float) -> Tensor:
        sigmas = flow_sigmas(10, sigma_max=sigma_max)
        denoiser = gaussian_denoiser(FLOW, 1.0, 0.5)
        return SOLVERS[sampler](denoiser, normal(0, 50).double(), sigmas, path=FLOW)

    limit = end(1.0)
    gaps = [(end(1 - gap) - limit).abs().max().item() for gap in (1e-2, 1e-6, 1e-12)]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.05


@PATHS
def test_euler_is_ddim_without_noise(path):
    denoiser, x = mixture_denoiser(path), normal(0, 10, 2, 1, 1, 1)
    ends = [
        SOLVERS[name](denoiser, x, falling_sigmas(path, 7), path=path) for name in ("euler", "ddim")
    ]
    torch.testing.assert_close(*ends)


def test_noise_is_drawn_once_per_step_that_adds_some():
    drawn = []

    def noise(step: int) -> Tensor:
        drawn.append(step)
        return normal(step, 4)

    def run(sampler: str, eta: float) -> list[int]:
        drawn.clear()
        SOLVERS[sampler](
            lambda x, sigma: x / 2, normal(0, 4), flow_sigmas(4), path=FLOW, noise=noise, eta=eta
        )
        return list(drawn)

    assert run("ddpm", 0.0) == run("lcm", 0.0) == run("ddim", 0.3) == [0, 1, 2]
    assert run("ddim", 0.0) == run("euler", 0.3) == run("unipc", 0.3) == []


def test_eta_1_is_ddpm():
    def noise(step: int) -> Tensor:
        return normal(step, 4)

    def end(sampler: str, eta: float) -> Tensor:
        return SOLVERS[sampler](
            lambda x, sigma: x / 2, normal(9, 4), flow_sigmas(4), path=FLOW, noise=noise, eta=eta
        )

    assert torch.equal(end("ddim", 1.0), end("ddpm", 0.0))
    assert not torch.equal(end("ddim", 0.9), end("ddpm", 0.0))


@pytest.mark.parametrize(("sampler", "eta"), [("ddpm", 0.0), ("lcm", 0.0), ("ddim", 0.5)])
def test_a_stochastic_sampler_without_noise_is_refused(sampler, eta):
    with pytest.raises(ConfigError, match="noise: got None"):
        SOLVERS[sampler](lambda x, sigma: x, normal(0, 4), flow_sigmas(4), path=FLOW, eta=eta)


@pytest.mark.parametrize("sigmas", [[1.0], [0.0, 1.0], [1.0, 1.0, 0.0], [1.0, -0.5], [[1.0, 0.0]]])
def test_sigmas_that_do_not_fall_are_refused(sigmas):
    with pytest.raises(ConfigError, match="sigmas: got"):
        SOLVERS["euler"](lambda x, sigma: x, normal(0, 4), torch.tensor(sigmas), path=FLOW)


def test_eta_outside_0_to_1_is_refused():
    with pytest.raises(ConfigError, match=r"eta: got 1\.5"):
        SOLVERS["ddim"](lambda x, sigma: x, normal(0, 4), flow_sigmas(4), path=FLOW, eta=1.5)


def test_a_misspelt_option_is_refused():
    options: Any = {"path": FLOW, "nosie": None}
    with pytest.raises(TypeError, match="nosie"):
        SOLVERS["euler"](lambda x, sigma: x, normal(0, 4), flow_sigmas(4), **options)


def test_samplers_are_told_apart():
    x = normal(0, 10, 2, 1, 1, 1)
    ends = {
        name: SOLVERS[name](
            mixture_denoiser(FLOW), x, flow_sigmas(6), path=FLOW, noise=lambda step: x, eta=0.5
        )
        for name in SOLVERS
    }
    for a, b in itertools.combinations(ends, 2):
        assert (ends[a] - ends[b]).abs().max() > 1e-3, (a, b)
