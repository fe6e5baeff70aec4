"""The contract between models and solvers: `denoiser(x, sigma) -> denoised`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from videogen.diffusion.objectives import Objective, to_denoised
from videogen.diffusion.process import NoisePath

# (x, sigma) -> estimate of x0, with the shape of x; sigma is a scalar or one level per frame, b t.
Denoiser = Callable[[Tensor, Tensor], Tensor]


def as_denoiser(
    model: Callable[..., Tensor], path: NoisePath, objective: Objective, **conditioning: Any
) -> Denoiser:
    """Turn a model that predicts `objective` into a function that estimates x0.

    Args:
        model: called as `model(latents b c t h w, timesteps b t, **conditioning)`; timesteps are
            `1000 * sigma` on a flow path and integer DDPM timesteps on a variance-preserving one,
            as floating-point numbers on the device of the latents.
        conditioning: passed on to every call, such as text tokens and their mask.
    """

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        # float32 at least: half precision cannot tell timesteps above 256 apart.
        dtype = torch.promote_types(x.dtype, torch.float32)
        timesteps = path.timestep(sigma.to(x.device, dtype)).expand(x.shape[0], x.shape[2])
        return to_denoised(model(x, timesteps, **conditioning), x, sigma, path, objective)

    return denoise
