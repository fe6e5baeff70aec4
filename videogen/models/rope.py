"""3D axial rotary position embedding (Su et al. 2021), one share of each head per axis.

All attention kinds use the same table: within a frame the time share is constant and cancels,
along time the space share cancels.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor


def axis_pairs(head_width: int) -> tuple[int, int, int]:
    """How many rotated pairs of a head belong to t, h, w; time takes what thirds leave over."""
    pairs = head_width // 2
    return pairs - 2 * (pairs // 3), pairs // 3, pairs // 3


def rope_angles(
    frames: Tensor,
    height: int,
    width: int,
    head_width: int,
    theta: float,
    dtype: torch.dtype = torch.float32,
    stretch: tuple[int, int] | None = None,
) -> Tensor:
    """Rotation angles `t (h w) k` in `dtype`, k = head_width / 2, of tokens on a grid.

    Args:
        frames: `t` positions in time, any real numbers.
        height, width: tokens per frame along h and w.
        stretch: (frames trained on, frames at hand), see `stretched`.
    """
    device = frames.device
    time, rows, columns = (_frequencies(n, theta, device, dtype) for n in axis_pairs(head_width))
    if stretch is not None:
        time = stretched(time, *stretch)
    y = torch.arange(height, device=device, dtype=dtype)
    x = torch.arange(width, device=device, dtype=dtype)
    shape = (len(frames), height, width, -1)
    angles = torch.cat(
        [
            (frames.to(dtype)[:, None] * time)[:, None, None].expand(shape),
            (y[:, None] * rows)[None, :, None].expand(shape),
            (x[:, None] * columns)[None, None].expand(shape),
        ],
        dim=-1,
    )
    return rearrange(angles, "t h w k -> t (h w) k")


def _frequencies(pairs: int, theta: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    steps = torch.arange(pairs, device=device, dtype=dtype)
    return theta ** (-steps / max(1, pairs))


def stretched(frequencies: Tensor, trained: int, length: int) -> Tensor:
    """Frequencies along time for clips longer than those trained on (RIFLEx, 2502.15894).

    The frequency whose period is nearest to the length trained on makes longer clips repeat; it is
    slowed down until nine tenths of its period are the whole clip.

    Args:
        frequencies: `k`, radians per frame.
        trained, length: in frames; nothing changes while length is not the larger one.
    """
    if length <= trained:
        return frequencies
    periods = 2 * math.pi / frequencies
    nearest = int((periods - trained).abs().argmin())
    changed = frequencies.clone()
    changed[nearest] = min(0.9 * 2 * math.pi / length, float(frequencies[nearest]))
    return changed


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate the pairs (first half, second half) of the last dim of `x` by broadcast angles."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


def rotate_neighbours(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate the pairs (even, odd) of the last dim of `x` by broadcast angles."""
    if torch.compiler.is_compiling() or x.stride(-1) != 1:
        even, odd = x[..., 0::2], x[..., 1::2]
        turned = torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], dim=-1)
        return turned.flatten(-2)
    # The same products in one pass, where eager torch would take eight.
    pairs = torch.view_as_complex(x.to(cosine.dtype).unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * torch.complex(cosine, sine)).flatten(-2)
