"""Classifier-free guidance, its rescaling, and the interval of noise levels where it acts.

Guidance is applied to x0 estimates. That is the same as guiding predictions: at one (x, sigma) the
estimate is an affine function of the prediction, `k1 x + k2 prediction`, and the two guidance
weights sum to 1, so the term in x passes through unchanged.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from videogen.diffusion.denoiser import Denoiser
from videogen.errors import ConfigError


class Halves(Protocol):
    """Where and in which order the halves of guidance are evaluated."""

    def __call__(
        self, conditional: Denoiser, unconditional: Denoiser, x: Tensor, sigma: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Both estimates of x0, the conditional one first."""
        ...

    def alone(self, conditional: Denoiser, x: Tensor, sigma: Tensor) -> Tensor:
        """The conditional estimate, where it stands alone."""
        ...


class OneByOne:
    """Evaluates the halves of guidance one after the other, here."""

    def __call__(
        self, conditional: Denoiser, unconditional: Denoiser, x: Tensor, sigma: Tensor
    ) -> tuple[Tensor, Tensor]:
        return conditional(x, sigma), unconditional(x, sigma)

    def alone(self, conditional: Denoiser, x: Tensor, sigma: Tensor) -> Tensor:
        return conditional(x, sigma)


one_by_one = OneByOne()


def guide(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """`unconditional + scale * (conditional - unconditional)`, exact at scale 0 and 1.

    Ho & Salimans 2207.12598, eq. 6, in the convention where scale 1 means no guidance.
    """
    return torch.lerp(unconditional, conditional, scale)


def rescale_guidance(guided: Tensor, conditional: Tensor, rescale: float) -> Tensor:
    """Pull contrast back to that of the conditional estimate (Lin et al. 2305.08891, eq. 14-16).

    Args:
        guided: `b ...`, the result of `guide`.
        rescale: share of the correction, in [0, 1]; 0 returns `guided` as it is.
    """
    if rescale == 0:
        return guided
    axes = tuple(range(1, guided.ndim))
    ratio = conditional.std(axes, keepdim=True) / guided.std(axes, keepdim=True)
    return torch.lerp(guided, guided * ratio, rescale)


def interval_sigmas(sigmas: Tensor, interval: tuple[float, float]) -> tuple[float, float]:
    """The noise levels (above low, up to high) that an interval of the steps covers.

    Kynkäänniemi et al. 2404.07724 define the interval by noise level; said in shares of
    the steps, it needs the schedule. Step `i` of `n` is guided where `start <= i / n < end`.

    Args:
        sigmas: the schedule, n + 1 falling values.
        interval: (start, end) with `0 <= start <= end <= 1`.
    """
    start, end = interval
    if not 0 <= start <= end <= 1:
        raise ConfigError(
            f"guidance_interval: got {interval}, expected 0 <= start <= end <= 1. "
            "Fix: give shares of the denoising steps, such as (0.0, 0.8)."
        )
    num_steps = len(sigmas) - 1
    first, stop = (math.ceil(round(share * num_steps, 6)) for share in interval)
    return float(sigmas[stop]), float(sigmas[first])


def with_guidance(
    conditional: Denoiser,
    unconditional: Denoiser,
    scale: float,
    *,
    rescale: float = 0.0,
    sigma_range: tuple[float, float] = (-math.inf, math.inf),
    halves: Halves = one_by_one,
) -> Denoiser:
    """A denoiser that guides, and leaves the unconditional pass out where it has no effect.

    Args:
        scale: guidance scale; at 1 the unconditional denoiser is never called.
        rescale: see `rescale_guidance`.
        sigma_range: guide where `low < sigma <= high`, see `interval_sigmas`; elsewhere the
            conditional estimate stands alone.
        halves: evaluates both denoisers, or the conditional one where it stands alone.
    """
    if scale == 1:
        return conditional
    # Levels come in float64 or float32; rounded alike, one at a bound is at it in both.
    low, high = torch.tensor(sigma_range, dtype=torch.float32).tolist()

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        if not low < float(sigma.max().float()) <= high:
            return halves.alone(conditional, x, sigma)
        positive, negative = halves(conditional, unconditional, x, sigma)
        return rescale_guidance(guide(positive, negative, scale), positive, rescale)

    return denoise
