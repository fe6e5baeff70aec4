"""Statistics of the first chunk as an anchor against drift of colour and contrast.

AdaIN (Huang & Belongie 1703.06868) of each chunk's latents, as used for long clips in diffusers'
LTX pipeline.
"""

from __future__ import annotations

import torch
from torch import Tensor

_SMALLEST_STD = 1e-4


def statistics_of(latents: Tensor) -> Tensor:
    """Mean and standard deviation of each channel of latents `c t h w`, `2 c`."""
    return torch.stack([latents.mean(dim=(1, 2, 3)), latents.std(dim=(1, 2, 3), correction=0)])


def pull_to(latents: Tensor, anchor: Tensor, strength: float) -> Tensor:
    """Move the statistics of latents `c t h w` towards those of the anchor, `2 c`.

    Args:
        strength: share of the way, in [0, 1].
    """
    mean, std = statistics_of(latents)[..., None, None, None]
    wanted_mean, wanted_std = anchor.to(latents)[..., None, None, None]
    moved = (latents - mean) / std.clamp_min(_SMALLEST_STD) * wanted_std + wanted_mean
    return torch.lerp(latents, moved, strength)
