"""What an image-to-video model is told of the picture it starts from."""

from __future__ import annotations

import torch
from torch import Tensor

from videogen.models.wan.vae import WanVAE


def first_frame_latents(
    vae: WanVAE,
    mean: Tensor,
    std: Tensor,
    first: Tensor,
    num_frames: int,
    last: Tensor | None = None,
) -> Tensor:
    """Mask and normalised latents of a clip of which one frame, or two, are known.

    Args:
        mean, std: latent statistics, broadcastable to `b c t h w`.
        first: the first frame, `b 3 h w` in [-1, 1].
        num_frames: 4n+1.
        last: the last frame, for models of first and last frame.

    Returns:
        `b (4 + c) t' h/8 w/8`, float32: a channel of mask for each frame of a latent frame, 1 where
        it is known, and the latents of the clip with grey in place of the unknown frames.
    """
    b, _, h, w = first.shape
    clip = first.new_zeros(b, 3, num_frames, h, w)
    known = torch.zeros(num_frames, device=first.device)
    clip[:, :, 0], known[0] = first, 1
    if last is not None:
        clip[:, :, -1], known[-1] = last, 1
    dtype = next(vae.parameters()).dtype
    latents = (vae.encode(clip.to(dtype)).float() - mean) / std
    # The first frame stands alone in its latent frame, and fills all of its channels.
    mask = torch.cat([known[:1].expand(vae.config.time_factor), known[1:]])
    mask = mask.view(-1, vae.config.time_factor).T[None, :, :, None, None]
    return torch.cat([mask.expand(b, -1, -1, *latents.shape[-2:]), latents], dim=1)
