"""Reading maps off a block: they teach it and those before it, cell by cell."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from videogen.models.config import DiTConfig, TextConfig
from videogen.models.dit import SpacetimeDiT
from videogen.models.embeddings import patchify
from videogen.models.text import WordEncoder
from videogen.training.scene_maps import LAYERS
from videogen.training.scene_reader import SceneReader, map_errors, patches_of_maps

CONFIG = DiTConfig(in_channels=4, width=24, depth=3, num_heads=2, text_width=12)
SIZE = (2, 3, 4, 4)
"""Clips, latent frames, rows, columns."""


@pytest.fixture
def reader() -> SceneReader:
    torch.manual_seed(0)
    text = WordEncoder(TextConfig(width=12, depth=1, num_heads=2), ("a", "red"))
    return SceneReader(SpacetimeDiT(CONFIG), text, CONFIG, after=2, num_tokens=None)


def read(reader: SceneReader) -> Tensor:
    b, t, h, w = SIZE
    noisy = torch.randn(b, 4, t, h, w, generator=torch.Generator().manual_seed(1))
    return reader(noisy, torch.full((b, t), 500.0), ["a red", "a"])[1].maps


def test_tokens_hold_the_maps_of_their_own_cells() -> None:
    maps = torch.rand(*SIZE, len(LAYERS))
    as_latents = patchify(maps.permute(0, 4, 1, 2, 3), CONFIG.patch)
    tokens = patches_of_maps(maps, CONFIG)
    assert tokens.shape == as_latents.shape
    assert torch.equal(tokens.sort(dim=-1).values, as_latents.sort(dim=-1).values)


def test_blocks_up_to_the_one_that_is_read_learn_from_it(reader: SceneReader) -> None:
    torch.nn.init.normal_(reader.map_reader.weight)
    tokens = read(reader)
    map_errors(tokens, torch.rand_like(tokens)).sum().backward()
    assert isinstance(reader.dit, SpacetimeDiT)
    learns = [
        any(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters())
        for block in reader.dit.blocks
    ]
    assert learns == [True, True, False]


def test_it_can_learn_what_is_where(reader: SceneReader) -> None:
    wanted = torch.rand_like(read(reader)).round()
    optimizer = torch.optim.AdamW(reader.parameters(), lr=1e-2)
    errors = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = map_errors(read(reader), wanted).mean()
        loss.backward()
        optimizer.step()
        errors.append(float(loss.detach()))
    assert errors[0] == pytest.approx(len(LAYERS) * float(wanted.mean()), rel=1e-4)
    assert errors[-1] < 0.6 * errors[0]
