"""Forward processes in closed form: how much data and how much noise is in a noisy latent.

A path is described by one number, sigma, which falls to 0 at the data:

    x = signal(sigma) * x0 + noise(sigma) * epsilon

Sigma is chosen so that `x / scale`, with `scale = noise / sigma`, is a straight line in sigma that
starts at x0: on a flow x itself (scale 1), on a variance-preserving path the variance-exploding
variable of k-diffusion (scale = signal). So methods that step in sigma need no other description.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from videogen.errors import ConfigError


class NoisePath(Protocol):
    """A forward process; every method is elementwise and keeps the shape of its argument."""

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """(signal, noise) such that `x = signal * x0 + noise * epsilon`."""
        ...

    def sigma_at(self, level: Tensor) -> Tensor:
        """Sigma at a level in [0, 1], the share of the way from data (0) to pure noise (1)."""
        ...

    def timestep(self, sigma: Tensor) -> Tensor:
        """What a model of this family is told about sigma."""
        ...


@dataclass(frozen=True)
class RectifiedFlow:
    """`x = (1 - sigma) x0 + sigma epsilon`, sigma in [0, 1] (Liu et al. 2209.03003, eq. 1)."""

    num_train_timesteps: int = 1000
    whole_timesteps: bool = False
    """Tell models whole timesteps below `num_train_timesteps`, as some are used with."""

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - sigma, sigma

    def sigma_at(self, level: Tensor) -> Tensor:
        return level

    def timestep(self, sigma: Tensor) -> Tensor:
        """`1000 * sigma`, not rounded unless `whole_timesteps`, then rounded down."""
        timesteps = self.num_train_timesteps * sigma
        if not self.whole_timesteps:
            return timesteps
        return timesteps.floor().clamp(max=self.num_train_timesteps - 1)


@dataclass(frozen=True, eq=False)
class VariancePreserving:
    """`x = sqrt(abar) x0 + sqrt(1 - abar) epsilon` (Ho et al. 2006.11239, eq. 4).

    Sigma is the noise-to-signal ratio `sqrt((1 - abar) / abar)` of k-diffusion, so the coefficients
    are closed forms of sigma and the table is needed only to name timesteps.

    Attributes:
        alpha_bars: float64, one per training timestep, strictly falling within (0, 1).
    """

    alpha_bars: Tensor

    def __post_init__(self) -> None:
        table = self.alpha_bars
        falls = table.ndim == 1 and len(table) > 1 and bool((table.diff() < 0).all())
        if not falls or table[0] >= 1 or table[-1] <= 0:
            raise ConfigError(
                "alpha_bars: got a table that does not fall strictly within (0, 1), expected one "
                "value per timestep. Fix: build it with VariancePreserving.from_betas."
            )

    @classmethod
    def from_betas(cls, betas: Tensor) -> VariancePreserving:
        """The path whose one-step variances are `betas`, each in (0, 1)."""
        return cls(torch.cumprod(1 - betas.double(), dim=0))

    @cached_property
    def sigmas(self) -> Tensor:
        """Sigma of every training timestep, float64, rising."""
        return ((1 - self.alpha_bars) / self.alpha_bars).sqrt()

    @cached_property
    def _midpoints(self) -> Tensor:
        """Where the nearest timestep changes, halfway in log sigma."""
        return (self.sigmas[1:] * self.sigmas[:-1]).sqrt()

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        signal = (1 + sigma**2).rsqrt()
        return signal, signal * sigma

    def sigma_at(self, level: Tensor) -> Tensor:
        """Sigma of timestep `floor(level * num_train_timesteps)`."""
        last = len(self.sigmas) - 1
        index = (level * (last + 1)).long().clamp(0, last)
        return self.sigmas.to(level)[index]

    def timestep(self, sigma: Tensor) -> Tensor:
        """The integer timestep whose log sigma is nearest, in sigma's dtype."""
        return torch.bucketize(sigma, self._midpoints.to(sigma)).to(sigma.dtype)


def per_frame(sigma: Tensor) -> Tensor:
    """Make noise levels broadcast against latents `b c t h w`.

    Args:
        sigma: one level for everything (no dimension), or one per frame, `b t`.

    Raises:
        ConfigError: sigma has another number of dimensions.
    """
    if sigma.ndim == 0:
        return sigma
    if sigma.ndim == 2:
        return sigma[:, None, :, None, None]
    raise ConfigError(
        f"sigma: got shape {tuple(sigma.shape)}, expected a scalar or one value per frame (b, t). "
        "Fix: expand it to (b, t)."
    )


def add_noise(path: NoisePath, x0: Tensor, epsilon: Tensor, sigma: Tensor) -> Tensor:
    """Noisy latents `signal * x0 + noise * epsilon`.

    Args:
        x0: clean latents `b c t h w`.
        epsilon: standard normal noise of the same shape.
        sigma: a scalar or one level per frame, `b t`.
    """
    signal, noise = path.coefficients(per_frame(sigma))
    return signal * x0 + noise * epsilon
