"""What a model is trained to predict, at which noise levels, and how its answer becomes x0.

With `x = a x0 + b epsilon` (a signal, b noise) the four objectives are

    epsilon            x0            v = a epsilon - b x0            flow = epsilon - x0

(Ho et al. 2006.11239; Salimans & Ho 2202.00512, §4; Lipman et al. 2210.02747). Each is linear in
(x0, epsilon), so each can be solved for x0 given x, on any path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from videogen.diffusion.process import NoisePath, per_frame
from videogen.errors import ConfigError
from videogen.registry import did_you_mean

Objective = Literal["epsilon", "v", "x0", "flow"]
Density = Callable[[tuple[int, ...], torch.Generator | None], Tensor]


def training_target(
    x0: Tensor, epsilon: Tensor, sigma: Tensor, path: NoisePath, objective: Objective
) -> Tensor:
    """What the model should answer for `add_noise(path, x0, epsilon, sigma)`.

    Args:
        x0: clean latents `b c t h w`.
        epsilon: the noise that was added.
        sigma: a scalar or one level per frame, `b t`.
    """
    signal, noise = path.coefficients(per_frame(sigma))
    match objective:
        case "epsilon":
            return epsilon
        case "x0":
            return x0
        case "v":
            return signal * epsilon - noise * x0
        case "flow":
            return epsilon - x0
        case _:
            raise _unknown(objective)


def to_denoised(
    prediction: Tensor, x: Tensor, sigma: Tensor, path: NoisePath, objective: Objective
) -> Tensor:
    """The x0 estimate that a prediction stands for; affine in the prediction."""
    signal, noise = path.coefficients(per_frame(sigma))
    match objective:
        case "epsilon":
            return (x - noise * prediction) / signal
        case "x0":
            return prediction
        case "v":
            return (signal * x - noise * prediction) / (signal**2 + noise**2)
        case "flow":
            return (x - noise * prediction) / (signal + noise)
        case _:
            raise _unknown(objective)


def to_prediction(
    denoised: Tensor, x: Tensor, sigma: Tensor, path: NoisePath, objective: Objective
) -> Tensor:
    """The inverse of `to_denoised`, for sigma > 0: the target, with the noise that x0 implies."""
    signal, noise = path.coefficients(per_frame(sigma))
    epsilon = (x - signal * denoised) / noise
    return training_target(denoised, epsilon, sigma, path, objective)


def elementwise_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Squared error of every element, in float32 at least, for the caller to weigh and average."""
    dtype = torch.promote_types(target.dtype, torch.float32)
    return (prediction.to(dtype) - target.to(dtype)) ** 2


def uniform(shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
    """Levels spread evenly over [0, 1)."""
    return torch.rand(shape, generator=generator, device=_device(generator))


def logit_normal(mean: float = 0.0, std: float = 1.0) -> Density:
    """Levels whose logit is normal, in (0, 1) (Esser et al. 2403.03206, eq. 19)."""

    def draw(shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        normal = torch.randn(shape, generator=generator, device=_device(generator))
        return torch.sigmoid(mean + std * normal)

    return draw


def sample_noise_levels(
    batch: int,
    frames: int,
    density: Density = uniform,
    independent_share: float = 0.0,
    generator: torch.Generator | None = None,
    *,
    per_sample: bool = False,
) -> Tensor:
    """Levels for one training batch: one per clip, or one per frame (diffusion forcing).

    Independent levels per frame are those of Chen et al. 2407.01392, algorithm 1.

    Args:
        independent_share: probability in [0, 1] that frames draw their own levels.
        per_sample: decide for every clip of the batch on its own, not once for the whole batch.

    Returns:
        float32 levels in [0, 1], `b t`; `path.sigma_at` turns them into sigmas.
    """
    shared = density((batch, 1), generator).expand(batch, frames)
    independent = density((batch, frames), generator)
    choice = uniform((batch if per_sample else 1, 1), generator)
    return torch.where(choice < independent_share, independent, shared)


def _device(generator: torch.Generator | None) -> torch.device:
    return torch.device("cpu") if generator is None else generator.device


def _unknown(objective: str) -> ConfigError:
    return ConfigError(
        f"objective: got '{objective}', {did_you_mean(objective, list(get_args(Objective)))}"
    )
