"""Clips of any length and size as the text-video encoder reads them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from videogen.errors import MediaError


def even_places(num_frames: int, count: int) -> list[int]:
    """Indices of `count` frames evenly over `num_frames`, both ends included; short clips repeat.

    Halves are rounded up, so that a clip read backwards has its own middle.
    """
    if count == 1:
        return [0]
    return [int(i * (num_frames - 1) / (count - 1) + 0.5) for i in range(count)]


def fit_frames(frames: np.ndarray, size: int) -> Tensor:
    """Frames `t h w c` in [0, 255], squeezed to squares: float `t c h w` in [-1, 1].

    The whole picture is kept, whatever its shape.

    Raises:
        MediaError: there are no frames, or they are no RGB.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames):
        raise MediaError(f"frames: got {frames.shape}, expected [t h w 3] with a frame or more.")
    pixels = rearrange(torch.from_numpy(np.ascontiguousarray(frames)), "t h w c -> t c h w").float()
    if pixels.shape[-2:] != (size, size):
        pixels = F.interpolate(pixels, (size, size), mode="bilinear", antialias=True)
    return pixels / 127.5 - 1.0


def clip_tensor(clips: Sequence[np.ndarray], num_frames: int, size: int) -> Tensor:
    """Clips, each uint8 `t h w c` of its own length and size, as one tensor `b t c h w`.

    Raises:
        MediaError: see `fit_frames`.
    """
    read = [clip[even_places(len(clip), num_frames)] if len(clip) else clip for clip in clips]
    return torch.stack([fit_frames(clip, size) for clip in read])
