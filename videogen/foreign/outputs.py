"""What pipelines return, in whichever of its forms, as frames uint8 `t h w c`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from videogen.errors import ConfigError, NonFiniteError, RejectedError

_CHANNELS = (1, 3, 4)
_FLAGS = ("nsfw_content_detected", "nsfw_detected", "watermark_detected")
"""What outputs say of their safety checker; the last two are those of DeepFloyd IF."""


def frames_of(output: Any, pipeline: str) -> np.ndarray:
    """The frames of the one clip or picture in what a pipeline returned.

    Args:
        output: has `frames` or `images`: a batch of one, as arrays `h w c` or tensors `c h w` in
            [0, 1], arrays of bytes, or Pillow pictures.
        pipeline: its class, for messages.

    Returns:
        uint8 `t h w c` with three channels; a picture is a clip of one frame.

    Raises:
        NonFiniteError: they hold NaN or infinity.
        RejectedError: the pipeline's safety checker has blackened them.
        ConfigError: they are something else.
    """
    if any(_is_flagged(output, name) for name in _FLAGS):
        raise RejectedError(
            f"{pipeline}: got a picture that its safety checker has blackened, expected one that "
            "it lets pass. Fix: change the prompt or the seed."
        )
    for name in ("frames", "images"):
        if (found := getattr(output, name, None)) is not None:
            return _to_bytes(_three_channels(_one_clip(found, name, pipeline)), pipeline)
    raise ConfigError(
        f"{pipeline}: got {type(output).__name__}, expected an output with frames or images. "
        "Fix: use a pipeline that makes pictures or videos."
    )


def _is_flagged(output: Any, name: str) -> bool:
    found = getattr(output, name, None)
    return isinstance(found, list | tuple) and any(flag is True for flag in found)


def _one_clip(found: Any, name: str, pipeline: str) -> np.ndarray:
    """Frames `t h w c` of whatever type, of a batch of one."""
    while isinstance(found, list | tuple) and len(found) == 1:
        found = found[0]
    if isinstance(found, list | tuple):
        found = np.stack([_array(item) for item in found])
    array = _array(found)
    if array.ndim == 5 and len(array) == 1:
        array = array[0]
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4 or array.shape[-1] not in _CHANNELS:
        raise ConfigError(
            f"{pipeline}: got {name} of shape {array.shape}, expected those of one clip. "
            "Fix: use a pipeline that makes pictures or videos."
        )
    return array


def _array(found: Any) -> np.ndarray:
    """A Pillow picture, array or tensor with the channels last."""
    if not isinstance(found, torch.Tensor):
        return np.asarray(found)
    tensor = found.detach().float().cpu()
    return tensor.movedim(-3, -1).numpy() if tensor.ndim >= 3 else tensor.numpy()


def _three_channels(frames: np.ndarray) -> np.ndarray:
    return frames.repeat(3, axis=-1) if frames.shape[-1] == 1 else frames[..., :3]


def _to_bytes(frames: np.ndarray, pipeline: str) -> np.ndarray:
    if frames.dtype == np.uint8:
        return np.ascontiguousarray(frames)
    result = np.empty(frames.shape, np.uint8)
    for index, frame in enumerate(frames):  # one by one, as floats take four times the memory
        if not np.isfinite(frame).all():
            raise NonFiniteError(
                f"{pipeline}: got NaN or infinity in frame {index}, expected numbers. "
                "Fix: use float32 or bfloat16."
            )
        result[index] = (frame.clip(0, 1) * 255).round()
    return result
