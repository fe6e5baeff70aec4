"""Windows of clips whose first frames, or first and last ones, are known: how long clips go on.

At sampling time a chunk is denoised beside frames that are already made (`videogen.extension`);
these are the same windows of rendered clips. Training on them teaches what the levels per frame of
diffusion forcing (Chen et al. 2407.01392) leave open: that a window need not show a clip's start.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from videogen.shapes.scene import Scene

AHEAD = 2
"""Known latent frames at the end of a looped window: as many as `videogen.extension` gives."""
MAX_KNOWN = 5
"""Most latent frames that a window goes on from."""


@dataclass(frozen=True)
class Batch:
    """What one training step sees.

    Attributes:
        latents: normalised, float32 `b c t h w`.
        scenes: what each clip shows.
        known: bool `b t`; known frames are given, lightly noised, and cost nothing.
        firsts: the latent frame of its clip that each window starts at; None for those that run
            round.
    """

    latents: Tensor
    scenes: list[Scene]
    known: Tensor
    firsts: list[int] | None = None


def windows(
    kind: str, latents: Tensor, scenes: list[Scene], size: int, generator: torch.Generator
) -> Batch:
    """Cut windows of `size` latent frames from clips `b c t h w` of a pool of some kind."""
    if kind == "continued":
        return _continued(latents, scenes, size, generator)
    known = torch.zeros(len(latents), size, dtype=torch.bool)
    if kind == "looped":
        counts = torch.randint(1, _context(size) + 1, (len(latents), 1), generator=generator)
        known |= torch.arange(size) < counts
        known[:, size - AHEAD :] = True
    firsts = None if kind == "looped" else [0] * len(scenes)
    return Batch(latents[:, :, -size:], scenes, known, firsts)


def glide(size: int) -> int:
    """Latent frames in which a clip leads back to its start, in windows of `size`."""
    return size - _context(size) - AHEAD


def _context(size: int) -> int:
    return (size - 1) // 2


def _continued(
    latents: Tensor, scenes: list[Scene], size: int, generator: torch.Generator
) -> Batch:
    """Windows from anywhere; those that hold a clip's start may have to show it unaided."""
    b = len(latents)
    firsts = torch.randint(0, latents.shape[2] - size + 1, (b,), generator=generator)
    cut = torch.stack([clip[:, i : i + size] for clip, i in zip(latents, firsts, strict=True)])
    counts = torch.randint(1, min(MAX_KNOWN, size - 1) + 1, (b,), generator=generator)
    unaided = (firsts == 0) & (torch.rand(b, generator=generator) < 0.5)
    counts = torch.where(unaided, 0, counts)
    return Batch(cut, scenes, torch.arange(size) < counts[:, None], firsts.tolist())
