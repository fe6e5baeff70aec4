"""Frames that a clip starts with: the image or the end of the video that it goes on from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from videogen.errors import InvalidRequestError
from videogen.extension.plan import ClipPlan
from videogen.models.protocol import VAESizes
from videogen.requests import ClipRequest


def usable_start(plan: ClipPlan, request: ClipRequest, frames: np.ndarray, vae: VAESizes) -> Tensor:
    """The last 4n+1 frames that the model can be given, float32 `c t h w` in [-1, 1].

    Args:
        frames: uint8 `t h w c`, of the size of the request.

    Raises:
        InvalidRequestError: the frames have another size or type, or leave nothing to make.
    """
    check_frames(request, frames)
    factor = vae.time_factor
    count = min((len(frames) - 1) // factor, max(plan.context, 1) - 1) * factor + 1
    if request.num_frames <= count:
        raise InvalidRequestError(
            f"num_frames: got {request.num_frames}, expected more than the {count} that the clip "
            f"starts with. Fix: use {count + factor} or more."
        )
    pixels = torch.from_numpy(np.ascontiguousarray(frames[-count:]))
    return pixels.permute(3, 0, 1, 2).float().div(127.5).sub(1.0)


def check_frames(request: ClipRequest, frames: np.ndarray) -> None:
    """Raise unless frames to start with are uint8 `t h w c` of the size of the request.

    Raises:
        InvalidRequestError: they are not, or there are none.
    """
    expected = (request.height, request.width, 3)
    if (
        frames.dtype != np.uint8
        or frames.ndim != 4
        or frames.shape[1:] != expected
        or not len(frames)
    ):
        raise InvalidRequestError(
            f"start: got {frames.dtype} {frames.shape}, expected uint8 (t, {request.height}, "
            f"{request.width}, 3). Fix: resize the frames to the size of the clip."
        )


def check_no_start(request: ClipRequest) -> None:
    """Raise if a clip asks for frames to start with.

    Raises:
        InvalidRequestError: it does.
    """
    for name in ("image", "video"):
        if getattr(request, name) is not None:
            raise InvalidRequestError(
                f"{name}: got {getattr(request, name)!r} and no frames, expected its frames as "
                "start=. Fix: read them with videogen.media, or leave the field out."
            )
