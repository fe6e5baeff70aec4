"""The ways to make a chunk of a clip, by name, and what they have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from videogen.extension.cached import cached_chunk
from videogen.extension.chained import chained_chunk
from videogen.extension.overlap import overlap_chunk
from videogen.extension.plan import ClipPlan
from videogen.extension.sampler import LatentSampler, OnStep
from videogen.extension.whole import whole_clip
from videogen.extension.windows import windows_chunk
from videogen.registry import Registry


class MakeChunk(Protocol):
    """Makes the next latents of a clip from what was kept of those before."""

    def __call__(
        self,
        sampler: LatentSampler,
        plan: ClipPlan,
        first: int,
        kept: Mapping[str, Tensor],
        on_step: OnStep | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Make the chunk that starts with latent frame `first`.

        Args:
            kept: what the chunk before kept, and `tail`, the last latents before `first`,
                `c t h w`, float32; empty at the start of a clip.
            on_step: told (steps done, steps) of this chunk.

        Returns:
            `plan.size(first)` new latents `c t h w`, float32, and what to keep beside the tail.
        """
        ...


METHODS: Registry[MakeChunk] = Registry(
    "extension",
    {
        "none": whole_clip,
        "overlap": overlap_chunk,
        "cached": cached_chunk,
        "windows": windows_chunk,
        "chained": chained_chunk,
    },
)
