"""The DiT: shapes, who attends to whom, timesteps per frame, text masks, positions."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from videogen.errors import ConfigError, InvalidRequestError
from videogen.models.config import DiTConfig
from videogen.models.dit import SpacetimeDiT
from videogen.models.text import TextEmbedding

BASE = DiTConfig(in_channels=4, width=24, depth=2, num_heads=2, text_width=8)


def make_dit(**changes: Any) -> SpacetimeDiT:
    torch.manual_seed(0)
    dit = SpacetimeDiT(dataclasses.replace(BASE, **changes)).double().requires_grad_(False)
    for parameter in dit.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return dit


def make_text(batch: int, length: int = 3) -> TextEmbedding:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(batch, length, 8, generator=generator, dtype=torch.float64)
    return TextEmbedding(tokens, torch.ones(batch, length, dtype=torch.bool), tokens[:, 0])


def make_latents(frames: int, batch: int = 1, side: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(batch, 4, frames, side, side, generator=generator, dtype=torch.float64)


def influence(dit: SpacetimeDiT, frames: int, changed: int) -> list[bool]:
    """Which output frames move when input frame `changed` does."""
    x = make_latents(frames)
    other = x.clone()
    other[:, :, changed] += 1.0
    time, text = torch.full((1, frames), 500.0), make_text(1)
    moved = (dit(x, time, text) - dit(other, time, text)).abs().amax(dim=(0, 1, 3, 4))
    return [bool(value > 1e-12) for value in moved]


@pytest.mark.parametrize("attention", ["factorized", "joint", "windowed"])
def test_output_has_the_shape_of_the_latents(attention: str) -> None:
    dit = make_dit(attention=attention)
    x = torch.randn(2, 4, 3, 4, 6, dtype=torch.float64)
    assert dit(x, torch.tensor([10.0, 900.0]), make_text(2)).shape == x.shape


@pytest.mark.parametrize("attention", ["factorized", "joint"])
def test_a_stage_at_single_cells_has_the_shape_of_the_latents_and_sees_all(attention: str) -> None:
    dit = make_dit(attention=attention, detail_depth=2, detail_width=12)
    assert all(influence(dit, frames=4, changed=1))
    x = make_latents(3, batch=2, side=6)
    assert dit(x, torch.tensor([10.0, 900.0]), make_text(2)).shape == x.shape


def test_a_new_stage_at_single_cells_changes_nothing() -> None:
    dit, x, text, time = make_dit(), make_latents(3), make_text(1), torch.tensor([400.0])
    grown = SpacetimeDiT(dataclasses.replace(BASE, detail_depth=1, detail_width=12)).double()
    grown.load_state_dict(dit.state_dict(), strict=False)
    assert torch.equal(grown(x, time, text), dit(x, time, text))


def test_each_cell_counts_at_single_cells() -> None:
    """Noisy latents reach the stage past the patches, and its cells have places of their own."""
    dit, x, text = make_dit(detail_depth=1, detail_width=12), make_latents(2), make_text(1)
    for layer in (dit.embed, dit.detail.tokens):
        torch.nn.init.zeros_(layer.weight)
    time = torch.tensor([400.0])
    other = x.clone()
    other[:, :, 0, 1, 0] += 1.0
    assert (dit(x, time, text) - dit(other, time, text)).abs().max() > 1e-6


@pytest.mark.parametrize("width", [13, 14])
def test_a_detail_width_that_heads_cannot_share_is_refused(width: int) -> None:
    with pytest.raises(ConfigError, match="detail_width: got"):
        dataclasses.replace(BASE, detail_depth=1, detail_width=width)


@pytest.mark.parametrize("attention", ["factorized", "joint"])
def test_every_frame_sees_every_frame(attention: str) -> None:
    assert all(influence(make_dit(attention=attention), frames=4, changed=1))


@pytest.mark.parametrize("attention", ["factorized", "joint", "windowed"])
def test_causal_attention_never_looks_ahead(attention: str) -> None:
    dit = make_dit(attention=attention, causal=True, window=9)
    assert influence(dit, frames=4, changed=2) == [False, False, True, True]


def test_windowed_attention_reaches_window_frames_per_block() -> None:
    dit = make_dit(attention="windowed", window=1, depth=1)
    assert influence(dit, frames=5, changed=2) == [False, True, True, True, False]


def test_one_timestep_for_all_frames_is_the_same_as_one_each() -> None:
    dit, x, text = make_dit(), make_latents(3), make_text(1)
    shared = dit(x, torch.tensor([300.0]), text)
    torch.testing.assert_close(shared, dit(x, torch.full((1, 3), 300.0), text))
    other = dit(x, torch.tensor([[300.0, 300.0, 0.0]]), text)
    assert (shared - other).abs().max() > 1e-6


def test_padding_of_the_text_changes_nothing() -> None:
    dit, x, text = make_dit(), make_latents(2), make_text(1)
    junk = torch.full((1, 2, 8), 50.0, dtype=torch.float64)
    padded = TextEmbedding(
        torch.cat([text.tokens, junk], 1), torch.tensor([[True] * 3 + [False] * 2]), text.pooled
    )
    time = torch.tensor([400.0])
    torch.testing.assert_close(dit(x, time, padded), dit(x, time, text))


def test_only_relative_positions_matter() -> None:
    dit, x, text = make_dit(), make_latents(3), make_text(1)
    time = torch.tensor([400.0])
    torch.testing.assert_close(
        dit(x, time, text, first_frame=7), dit(x, time, text), rtol=1e-4, atol=1e-5
    )


def test_order_of_frames_and_places_matters() -> None:
    dit, x, text = make_dit(), make_latents(3), make_text(1)
    time = torch.tensor([400.0])
    for dim in (2, 3, 4):
        flipped = dit(x.flip(dim), time, text).flip(dim)
        assert (flipped - dit(x, time, text)).abs().max() > 1e-3


def test_starts_as_zero() -> None:
    fresh = SpacetimeDiT(BASE)
    x = torch.randn(1, 4, 2, 4, 4)
    text = TextEmbedding(torch.randn(1, 2, 8), torch.ones(1, 2).bool(), torch.randn(1, 8))
    assert fresh(x, torch.tensor([1.0]), text).abs().max() == 0


def test_odd_latents_are_refused_with_the_next_sizes() -> None:
    with pytest.raises(InvalidRequestError, match=r"got 5x4 cells.*4x4 or 6x4"):
        make_dit()(torch.zeros(1, 4, 1, 5, 4).double(), torch.tensor([1.0]), make_text(1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 5}, "num_heads: got 5"),
        ({"width": 6, "num_heads": 2}, "expected an even number"),
        ({"patch": (2, 2, 2)}, "expected 1 along t"),
    ],
)
def test_impossible_configurations_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(BASE, **changes)
