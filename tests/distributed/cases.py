"""Small DiTs and inputs that every process can build for itself, the same each time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from videogen.diffusion.denoiser import Denoiser, as_denoiser
from videogen.diffusion.guidance import Halves, one_by_one, with_guidance
from videogen.diffusion.process import RectifiedFlow
from videogen.models.config import DiTConfig
from videogen.models.dit import SpacetimeDiT
from videogen.models.text import TextEmbedding

CHANNELS, TEXT_WIDTH = 2, 8


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model, a clip and degrees."""

    attention: str = "factorized"
    causal: bool = False
    window: int = 1
    num_heads: int = 2
    head_width: int = 6
    depth: int = 2
    batch: int = 1
    t: int = 3
    h: int = 2
    w: int = 2
    per_frame: bool = False
    first_frame: int = 0
    cfg_degree: int = 1
    seq_degree: int = 1
    patch: int = 1
    detail_depth: int = 0
    ulysses_degree: int | None = None

    @property
    def num_ranks(self) -> int:
        return self.cfg_degree * self.seq_degree


def make_dit(case: Case) -> SpacetimeDiT:
    config: dict[str, Any] = {"attention": case.attention}
    torch.manual_seed(0)
    dit = SpacetimeDiT(
        DiTConfig(
            in_channels=CHANNELS,
            width=case.num_heads * case.head_width,
            depth=case.depth,
            num_heads=case.num_heads,
            patch=(1, case.patch, case.patch),
            detail_depth=case.detail_depth,
            detail_width=4 * case.num_heads,
            text_width=TEXT_WIDTH,
            window=case.window,
            causal=case.causal,
            **config,
        )
    )
    for parameter in dit.parameters():
        torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)  # keeps sizes near 1
    return dit.requires_grad_(False)


def make_latents(case: Case) -> Tensor:
    return _normal(1, case.batch, CHANNELS, case.t, case.h, case.w)


def make_sigma(case: Case) -> Tensor:
    """One level, or one for each frame."""
    if not case.per_frame:
        return torch.tensor(0.6)
    return torch.rand(case.batch, case.t, generator=torch.Generator().manual_seed(2))


def make_text(case: Case, seed: int) -> TextEmbedding:
    """Prompts of different lengths, the shorter ones padded."""
    length = 3 + seed % 2
    tokens = _normal(seed, case.batch, length, TEXT_WIDTH)
    mask = torch.arange(length) < length - torch.arange(case.batch)[:, None] % 2
    return TextEmbedding(tokens, mask, tokens[:, 0])


def make_denoiser(case: Case, dit: SpacetimeDiT, halves: Halves = one_by_one) -> Denoiser:
    conditional, unconditional = (
        as_denoiser(
            dit,
            RectifiedFlow(),
            "flow",
            text=make_text(case, seed),
            first_frame=case.first_frame,
        )
        for seed in (3, 4)
    )
    return with_guidance(conditional, unconditional, 2.0, halves=halves)


def count_flops(case: Case, dit: SpacetimeDiT) -> int:
    """Operations of one forward in this process."""
    with FlopCounterMode(display=False) as counter:
        dit(make_latents(case), torch.full((case.batch,), 500.0), make_text(case, 3))
    return counter.get_total_flops()


def _normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
