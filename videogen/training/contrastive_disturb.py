"""Spoils rendered clips as VAEs, samplers and codecs do, differently for each clip."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from videogen.training.contrastive_config import DisturbanceConfig

_BLUR_PX, _COLOUR_BLUR_PX, _PATCHES = 2, 8, 8


def disturb(frames: Tensor, config: DisturbanceConfig, generator: torch.Generator) -> Tensor:
    """Clips `b t c h w` in [-1, 1], each blurred, noisy and lit by amounts of its own."""
    b, t = frames.shape[:2]
    chosen = (torch.rand(b, 1, 1, 1, 1, generator=generator) < config.share).float()

    def amount(limit: float) -> Tensor:
        return chosen * limit * torch.rand(b, 1, 1, 1, 1, generator=generator)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    grey = frames.mean(dim=2, keepdim=True)
    colour = frames - grey
    x = grey + colour.lerp(_coarser(colour, _COLOUR_BLUR_PX), amount(config.colour_blur))
    x = x.lerp(_coarser(x, _BLUR_PX), amount(config.blur))
    height, width = frames.shape[-2:]
    patches = _enlarged(noise(b * t, 3, _PATCHES, _PATCHES), height, width)
    x = x + amount(config.flicker) * rearrange(patches, "(b t) c h w -> b t c h w", b=b)
    x = x * (1 + amount(config.light) * noise(b, 1, 1, 1, 1).clamp(-1, 1))
    x = x + amount(config.light) * noise(b, 1, 3, 1, 1).clamp(-1, 1)
    return (x + amount(config.noise) * noise(*frames.shape)).clamp(-1, 1)


def _coarser(frames: Tensor, block_px: int) -> Tensor:
    """Averaged over blocks, and enlarged again without showing them."""
    b, _, _, height, width = frames.shape
    flat = rearrange(frames, "b t c h w -> (b t) c h w")
    small = F.avg_pool2d(flat, block_px, ceil_mode=True)
    return rearrange(_enlarged(small, height, width), "(b t) c h w -> b t c h w", b=b)


def _enlarged(flat: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(flat, (height, width), mode="bilinear", align_corners=False)
