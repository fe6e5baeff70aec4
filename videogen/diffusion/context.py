"""Denoising frames between known ones, which the model is told through their own noise levels.

Chen et al. 2407.01392 (diffusion forcing); noise on the known frames as in SkyReels-V2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from videogen.diffusion.denoiser import Denoiser


def between(denoiser: Denoiser, before: Tensor, after: Tensor, known_sigma: Tensor) -> Denoiser:
    """A denoiser of the frames between known ones; whoever samples need not know of those.

    Args:
        denoiser: takes one noise level per frame.
        before, after: known latents `b c t h w`, t may be 0, noised to `known_sigma`.
        known_sigma: their noise level, a scalar.
    """
    first, num_after = before.shape[2], after.shape[2]

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        b, _, t = x.shape[:3]
        levels = torch.cat(
            [
                known_sigma.expand(b, first),
                sigma.to(known_sigma).expand(b, t),
                known_sigma.expand(b, num_after),
            ],
            dim=1,
        )
        whole = torch.cat([before, x, after], dim=2)
        # float32 levels make float32 of half precision, which the model would not take back.
        return denoiser(whole, levels)[:, :, first : first + t].to(x.dtype)

    return denoise
