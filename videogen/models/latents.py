"""Latents as the VAE has them and as the DiT sees them: zero mean and unit variance per channel."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def channel_statistics(
    like: Tensor, mean: Sequence[float], std: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation by channel, to broadcast against latents `b c t h w`.

    Args:
        like: gives dtype and device.
    """
    tensors = (like.new_tensor(values) for values in (mean, std))
    by_channel = tuple(tensor.view(1, -1, 1, 1, 1) for tensor in tensors)
    return by_channel[0], by_channel[1]
