"""The steps of a schedule as solvers see them: two levels of a path, and what happens between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Required, TypedDict

import torch
from torch import Tensor

from videogen.diffusion.process import NoisePath
from videogen.errors import ConfigError

NoiseSource = Callable[[int], Tensor]


class SolverOptions(TypedDict, total=False):
    """Keywords of every solver; only ddpm, ddim and lcm use `noise`, and only ddim reads `eta`."""

    path: Required[NoisePath]
    # step (0 .. n - 1) -> standard normal noise with the shape of x; asked only where it is needed
    noise: NoiseSource | None
    # share of the noise of ddpm that ddim adds, in [0, 1]
    eta: float
    # told (steps done, n) after each of the n steps
    callback: Callable[[int, int], None] | None


@dataclass(frozen=True)
class Level:
    """One sigma seen through a path, `x = signal * x0 + noise * epsilon`; float64 scalars."""

    sigma: Tensor
    signal: Tensor
    noise: Tensor

    @property
    def log_snr(self) -> Tensor:
        """The lambda of DPM-Solver, `log(signal / noise)`; infinite at either end of a path."""
        return self.signal.log() - self.noise.log()


@dataclass(frozen=True)
class Step:
    """One step of a solver, from level `now` to the less noisy level `then`."""

    index: int
    is_last: bool
    now: Level
    then: Level
    eta: float
    noise: NoiseSource | None

    @property
    def width(self) -> Tensor:
        """The h of DPM-Solver: how far lambda rises."""
        return self.then.log_snr - self.now.log_snr

    @property
    def renewable(self) -> Tensor:
        """Share of the noise variance at `then` that does not come from `now`, given x0.

        The posterior variance of Ho et al. 2006.11239, eq. 7, over `then.noise ** 2`, on any path.
        """
        kept = (self.now.signal * self.then.noise) / (self.then.signal * self.now.noise)
        return 1 - kept**2

    def draw(self) -> Tensor:
        """The fresh noise of this step.

        Raises:
            ConfigError: the solver was given no source of noise.
        """
        if self.noise is None:
            raise ConfigError(
                "noise: got None, expected a function from step to noise, because ddpm, lcm, and "
                "ddim with eta > 0, are stochastic. Fix: pass noise=..., or choose ddim with eta 0."
            )
        return self.noise(self.index)


def walk(
    sigmas: Tensor,
    *,
    path: NoisePath,
    noise: NoiseSource | None = None,
    eta: float = 0.0,
    callback: Callable[[int, int], None] | None = None,
) -> Iterator[Step]:
    """Yield the steps of a schedule and report each one once its work is done.

    Raises:
        ConfigError: sigmas are not n + 1 falling values, or eta is outside [0, 1].
    """
    _check(sigmas, eta)
    values = sigmas.detach().to("cpu", torch.float64).unbind()
    levels = [Level(sigma, *path.coefficients(sigma)) for sigma in values]
    total = len(levels) - 1
    for index, (now, then) in enumerate(pairwise(levels)):
        yield Step(index, index == total - 1, now, then, eta, noise)
        if callback is not None:
            callback(index + 1, total)


def _check(sigmas: Tensor, eta: float) -> None:
    falling = sigmas.ndim == 1 and len(sigmas) > 1 and bool((sigmas.diff() < 0).all())
    if not falling or sigmas[-1] < 0:
        raise ConfigError(
            f"sigmas: got {sigmas.tolist()}, expected n + 1 strictly falling values, the last 0. "
            "Fix: build them with videogen.diffusion.schedules."
        )
    if not 0 <= eta <= 1:
        raise ConfigError(f"eta: got {eta}, expected 0 to 1. Fix: 0 is ddim, 1 is ddpm.")
