"""Sines and cosines of positions, added to tokens (Vaswani et al. 2017; MAE, 2111.06377)."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from videogen.models.latte.config import LatteConfig


@lru_cache(maxsize=8)
def spatial_positions(config: LatteConfig, height: int, width: int) -> Tensor:
    """Vectors `(h w) d`, float32, of tokens on a grid stretched to that of training."""
    base, half = config.base_size, config.width // 2
    rows, columns = (
        torch.arange(size, dtype=torch.float32) / (size / base) / config.position_scale
        for size in (height, width)
    )
    grid = (height, width, half)
    # Columns come first.
    parts = [
        _waves(columns, half)[None].expand(grid),
        _waves(rows, half)[:, None].expand(grid),
    ]
    return torch.cat(parts, dim=-1).flatten(0, 1)


@lru_cache(maxsize=8)
def temporal_positions(
    config: LatteConfig, num_frames: int, trained_frames: int | None = None
) -> Tensor:
    """Vectors `t d`, float32; zeros for a single picture, which has no place in time.

    Args:
        trained_frames: press the positions of more frames than these together, into their range.
    """
    if num_frames == 1:
        return torch.zeros(1, config.width)
    pressed = min(1.0, (trained_frames or num_frames) / num_frames)
    return _waves(torch.arange(num_frames) * pressed, config.width)


def _waves(positions: Tensor, width: int) -> Tensor:
    """Sines, then cosines, of positions `n`: `n width`, computed in float64."""
    steps = torch.arange(width // 2, dtype=torch.float64) / (width / 2)
    angles = positions.double()[:, None] * 10000.0**-steps
    return torch.cat([angles.sin(), angles.cos()], dim=-1).float()
