"""Schedules: betas for training, and falling sigmas (n + 1 values ending in 0) for sampling."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from videogen.diffusion.process import VariancePreserving
from videogen.errors import ConfigError
from videogen.registry import Registry


def linear_betas(num_timesteps: int = 1000, first: float = 1e-4, last: float = 0.02) -> Tensor:
    """Betas on a line (Ho et al. 2006.11239, §4)."""
    return torch.linspace(first, last, num_timesteps, dtype=torch.float64)


def scaled_linear_betas(
    num_timesteps: int = 1000, first: float = 0.00085, last: float = 0.012
) -> Tensor:
    """Betas whose square roots are on a line (latent diffusion, Rombach et al. 2112.10752)."""
    return linear_betas(num_timesteps, first**0.5, last**0.5) ** 2


def cosine_betas(num_timesteps: int = 1000, max_beta: float = 0.999) -> Tensor:
    """Betas of a squared-cosine alpha_bar (Nichol & Dhariwal 2102.09672, eq. 17)."""
    time = torch.linspace(0, 1, num_timesteps + 1, dtype=torch.float64)
    alpha_bars = torch.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - alpha_bars[1:] / alpha_bars[:-1]).clamp(max=max_beta)


BETAS: Registry[Callable[..., Tensor]] = Registry(
    "beta schedule",
    {"linear": linear_betas, "scaled_linear": scaled_linear_betas, "cosine": cosine_betas},
)


def leading_timesteps(num_inference_steps: int, num_train_timesteps: int) -> Tensor:
    """Multiples of the whole stride, from 0 up; returned falling."""
    stride = num_train_timesteps // num_inference_steps
    return (torch.arange(num_inference_steps) * stride).flip(0)


def trailing_timesteps(num_inference_steps: int, num_train_timesteps: int) -> Tensor:
    """Strides counted down from the last timestep, so sampling starts at full noise."""
    stride = num_train_timesteps / num_inference_steps
    steps = torch.arange(num_inference_steps, dtype=torch.float64)
    return (num_train_timesteps - steps * stride).round().long() - 1


def linspace_timesteps(num_inference_steps: int, num_train_timesteps: int) -> Tensor:
    """Evenly spread, with both the first and the last training timestep."""
    stride = (num_train_timesteps - 1) / max(num_inference_steps - 1, 1)
    steps = torch.arange(num_inference_steps, dtype=torch.float64)
    return (steps * stride).round().long().flip(0)


SPACINGS: Registry[Callable[[int, int], Tensor]] = Registry(
    "timestep spacing",
    {
        "leading": leading_timesteps,
        "trailing": trailing_timesteps,
        "linspace": linspace_timesteps,
    },
)


def vp_sigmas(
    path: VariancePreserving,
    num_inference_steps: int,
    spacing: str = "trailing",
    steps_offset: int = 0,
) -> Tensor:
    """Sigmas at training timesteps (Lin et al. 2305.08891, table 2; names as in diffusers).

    Args:
        spacing: "leading", "trailing" or "linspace".
        steps_offset: added to every timestep; models published with "leading" often want 1.

    Returns:
        float64 sigmas, `num_inference_steps + 1` values ending in 0.

    Raises:
        ConfigError: unknown spacing, more steps than training timesteps, or timesteps moved out of
            the table.
    """
    num_train = len(path.sigmas)
    _check_steps(num_inference_steps, limit=num_train)
    timesteps = SPACINGS[spacing](num_inference_steps, num_train) + steps_offset
    if timesteps.min() < 0 or timesteps.max() >= num_train:
        raise ConfigError(
            f"steps_offset: got {steps_offset}, expected one that keeps timesteps within 0 to "
            f"{num_train - 1}. Fix: use 0, or 1 with spacing 'leading'."
        )
    return _ending_in_zero(path.sigmas[timesteps])


def karras_sigmas(
    num_inference_steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0
) -> Tensor:
    """Sigmas evenly spaced in `sigma ** (1 / rho)` (Karras et al. 2206.00364, eq. 5)."""
    _check_steps(num_inference_steps)
    roots = torch.linspace(
        sigma_max ** (1 / rho), sigma_min ** (1 / rho), num_inference_steps, dtype=torch.float64
    )
    return _ending_in_zero(roots**rho)


def shift_sigmas(sigmas: Tensor, shift: float) -> Tensor:
    """Spend more steps at high noise where shift > 1 (Esser et al. 2403.03206, eq. 23)."""
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def flow_sigmas(
    num_inference_steps: int, shift: float = 1.0, sigma_max: float = 1.0, sigma_min: float = 0.0
) -> Tensor:
    """Shifted, evenly spaced sigmas of a rectified flow.

    Args:
        shift: `flow_shift` of the request; 1 leaves the spacing even.
        sigma_max: where sampling starts, before the shift.
        sigma_min: where the even spacing aims, before the shift; the step there is replaced by 0.

    Returns:
        float64 sigmas, `num_inference_steps + 1` values ending in 0.
    """
    _check_steps(num_inference_steps)
    even = torch.linspace(sigma_max, sigma_min, num_inference_steps + 1, dtype=torch.float64)
    return _ending_in_zero(shift_sigmas(even[:-1], shift))


def _ending_in_zero(sigmas: Tensor) -> Tensor:
    return torch.cat([sigmas, sigmas.new_zeros(1)])


def _check_steps(num_inference_steps: int, limit: int | None = None) -> None:
    if num_inference_steps < 1 or (limit is not None and num_inference_steps > limit):
        expected = "at least 1" if limit is None else f"1 to {limit}"
        raise ConfigError(
            f"num_inference_steps: got {num_inference_steps}, expected {expected}. "
            "Fix: choose a number in that range."
        )
