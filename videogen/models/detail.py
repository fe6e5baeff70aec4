"""A second stage of a DiT at single latent cells: what is finer than a patch.

A token of a patch says at once what all its cells hold. That is cheap and blurs edges: behind the
blocks at patches, a few narrow blocks attend from cell to cell and correct the prediction (as
hourglass transformers do: Crowson et al. 2401.11605). The correction is zero at first,
so that a trained model can be given this stage without becoming another one.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videogen.models.blocks import Block
from videogen.models.config import DiTConfig
from videogen.models.embeddings import patchify, unpatchify
from videogen.models.kv_cache import Past
from videogen.models.layout import Stream
from videogen.models.stages import read_out, through, zero

CELL = (1, 1, 1)


class DetailStage(nn.Module):
    """Blocks at single latent cells; the stage at patches hands its tokens down to them."""

    def __init__(self, config: DiTConfig, fine: DiTConfig) -> None:
        super().__init__()
        self.config = fine
        self.patch = config.patch
        self.cells = nn.Linear(fine.in_channels, fine.width)
        self.tokens = nn.Linear(config.width, config.patch[1] * config.patch[2] * fine.width)
        self.condition = nn.Linear(config.width, fine.width)
        self.text = nn.Linear(config.width, fine.width)
        self.blocks = nn.ModuleList(Block(fine) for _ in range(fine.depth))
        self.modulation = nn.Linear(fine.width, 2 * fine.width)
        self.head = nn.Linear(fine.width, fine.in_channels)
        zero(self.modulation, self.head)

    def handed_down(self, tokens: Tensor) -> Tensor:
        """Tokens of patches `b t s d` as features of their cells, `b t s (c p q)`."""
        return self.tokens(F.layer_norm(tokens, tokens.shape[-1:]))

    def stream(self, whole: Stream, latents: Tensor, handed_down: Tensor, angles: Tensor) -> Stream:
        """What this stage works on.

        Args:
            whole: what the stage at patches worked on.
            latents: noisy, `b c t h w`.
            handed_down: of all tokens.
            angles: RoPE angles of cells, `t s k`.
        """
        rows = latents.shape[-2] // self.patch[1]
        features = unpatchify(handed_down, self.patch, rows)
        return replace(
            whole,
            patches=patchify(torch.cat([latents, features], dim=1), CELL),
            condition=self.condition(whole.condition),
            angles=angles,
            text=self.text(whole.text),
        )

    def forward(self, stream: Stream, mask: Tensor | None, pasts: list[Past] | None) -> Tensor:
        """The correction of a stream's cells, `b t s c`."""
        latents, features = stream.patches.split(
            [self.cells.in_features, self.cells.out_features], dim=-1
        )
        x = through(self.blocks, self.cells(latents) + features, stream, mask, pasts)
        return read_out(x, stream.condition, self.modulation, self.head)
