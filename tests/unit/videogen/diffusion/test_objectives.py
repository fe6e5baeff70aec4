from __future__ import annotations

from typing import Any

import pytest
import torch

from videogen.diffusion.objectives import (
    Objective,
    elementwise_loss,
    logit_normal,
    sample_noise_levels,
    to_denoised,
    to_prediction,
    training_target,
    uniform,
)
from videogen.diffusion.process import RectifiedFlow, VariancePreserving, add_noise
from videogen.diffusion.schedules import linear_betas
from videogen.errors import ConfigError

VP = VariancePreserving.from_betas(linear_betas())
FLOW = RectifiedFlow()
OBJECTIVES: list[Objective] = ["epsilon", "v", "x0", "flow"]
PATHS = pytest.mark.parametrize("path", [VP, FLOW], ids=["vp", "flow"])


def latents(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, 4, 5, 6, generator=generator, dtype=torch.float64)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@PATHS
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("shape", [(), (2, 4)], ids=["one level", "per frame"])
def test_the_target_leads_back_to_the_data(path, objective, shape):
    x0, epsilon = latents(0), latents(1)
    level = torch.rand(shape, generator=seeded(), dtype=torch.float64) * 0.9 + 0.05
    sigma = path.sigma_at(level)
    x = add_noise(path, x0, epsilon, sigma)
    target = training_target(x0, epsilon, sigma, path, objective)
    torch.testing.assert_close(to_denoised(target, x, sigma, path, objective), x0)
    torch.testing.assert_close(to_prediction(x0, x, sigma, path, objective), target)


def test_targets_in_numbers():
    path = VariancePreserving(torch.tensor([0.99, 0.36], dtype=torch.float64))
    x0, epsilon, sigma = torch.tensor(2.0), torch.tensor(-1.0), path.sigmas[1]
    targets = {name: training_target(x0, epsilon, sigma, path, name).item() for name in OBJECTIVES}
    assert targets == pytest.approx({"epsilon": -1.0, "x0": 2.0, "v": -2.2, "flow": -3.0})


@pytest.mark.parametrize("objective", ["v", "x0", "flow"])
def test_denoised_is_finite_at_both_ends_of_a_flow(objective):
    x = latents(0)
    sigma = torch.tensor([[0.0, 1.0, 0.0, 1.0]] * 2, dtype=torch.float64)
    assert bool(to_denoised(latents(1), x, sigma, FLOW, objective).isfinite().all())


def test_an_unknown_objective_is_refused():
    x, sigma = latents(0), torch.tensor(0.5)
    converters: list[Any] = [training_target, to_denoised, to_prediction]
    for convert in converters:
        with pytest.raises(ConfigError, match=r"objective: got 'epsilom'.*Did you mean 'epsilon'"):
            convert(x, x, sigma, FLOW, "epsilom")


def test_loss_is_per_element_and_in_float32():
    prediction = torch.tensor([1.0, 300.0], dtype=torch.bfloat16)
    loss = elementwise_loss(prediction, torch.tensor([0.5, 1.0], dtype=torch.bfloat16))
    assert loss.tolist() == [0.25, 299.0**2]
    assert loss.dtype == torch.float32
    assert elementwise_loss(torch.ones(2, 3), torch.zeros(2, 3)).shape == (2, 3)


def test_densities_have_their_moments():
    levels = uniform((100_000,), seeded())
    assert levels.mean().item() == pytest.approx(0.5, abs=0.005)
    assert levels.std().item() == pytest.approx(12**-0.5, abs=0.005)
    logits = logit_normal(0.8, 0.5)((100_000,), seeded()).logit()
    assert logits.mean().item() == pytest.approx(0.8, abs=0.01)
    assert logits.std().item() == pytest.approx(0.5, abs=0.01)


def test_levels_are_shared_by_the_frames_of_a_clip():
    levels = sample_noise_levels(64, 5, independent_share=0.0, generator=seeded())
    assert levels.shape == (64, 5)
    assert torch.equal(levels, levels[:, :1].expand(64, 5))
    assert levels[:, 0].unique().numel() == 64


def test_independent_levels_differ_in_every_frame():
    levels = sample_noise_levels(64, 5, independent_share=1.0, generator=seeded())
    assert levels.unique().numel() == 64 * 5


def test_a_share_of_whole_batches_is_independent():
    generator = seeded()
    kinds = []
    for _ in range(400):
        levels = sample_noise_levels(4, 3, independent_share=0.3, generator=generator)
        is_shared = (levels == levels[:, :1]).all(dim=1)
        assert is_shared.unique().numel() == 1, "one batch, one kind"
        kinds.append(bool(is_shared[0]))
    assert 1 - sum(kinds) / 400 == pytest.approx(0.3, abs=0.06)


def test_the_mixture_may_be_drawn_per_sample():
    levels = sample_noise_levels(
        4000, 3, independent_share=0.3, generator=seeded(), per_sample=True
    )
    is_shared = (levels == levels[:, :1]).all(dim=1)
    assert 1 - is_shared.float().mean().item() == pytest.approx(0.3, abs=0.03)


def test_levels_follow_the_density_and_the_generator():
    draw: dict[str, Any] = {"density": logit_normal(2.0, 0.1), "independent_share": 0.5}
    levels = sample_noise_levels(500, 4, **draw, generator=seeded(3))
    assert levels.logit().mean().item() == pytest.approx(2.0, abs=0.05)
    assert torch.equal(levels, sample_noise_levels(500, 4, **draw, generator=seeded(3)))
    assert not torch.equal(levels, sample_noise_levels(500, 4, **draw, generator=seeded(4)))
