"""Wan decoded in tiles gives the frames of the whole picture, in less memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from videogen.models.vae import to_bytes
from videogen.models.wan.vae import WanVAE
from videogen.models.wan.vae_config import WanVAEConfig
from videogen.parallel.vae_wan_tiles import tile_sizes, tile_wan_vae, trailing_lines

CONFIG = WanVAEConfig(
    base_dim=4, z_dim=4, num_res_blocks=1, latents_mean=(0.0,) * 4, latents_std=(1.0,) * 4
)


@pytest.fixture(scope="module")
def vae() -> WanVAE:
    torch.manual_seed(0)
    made = WanVAE(CONFIG)
    for parameter in made.parameters():
        parameter.data = torch.randn(parameter.shape) * (0.3 + parameter[0].numel() ** -0.5)
    return made.eval().requires_grad_(False)


def latents(t: int, h: int, w: int) -> Tensor:
    return torch.randn(1, 4, t, h, w, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("h", "w"), [(20, 3), (2, 17), (5, 4)])
@pytest.mark.parametrize("num_tiles", [2, 4])
def test_tiles_are_exact(vae: WanVAE, h: int, w: int, num_tiles: int) -> None:
    given = latents(3, h, w)
    expected = vae.decode(given)
    assert (expected.abs() < 0.99).float().mean() > 0.3
    tiled = tile_wan_vae(vae, num_tiles, finish=lambda tile: tile)
    cache = {}
    found = [*tiled.decode_stream([given[:, :, :2]], cache)]
    found += [*tiled.decode_stream([given[:, :, 2:]], cache)]
    assert torch.cat(found, dim=2).shape == expected.shape
    assert (torch.cat(found, dim=2) - expected).abs().max() <= 1e-4
    tiles = {name.split(":")[0] for name in cache if name[0].isdigit()}
    assert len(tiles) == len(tile_sizes(CONFIG, max(h, w), num_tiles))


def test_the_whole_vae_stays_as_it_is(vae: WanVAE) -> None:
    given = latents(1, 20, 2)
    before = vae.decode(given)
    tiled = tile_wan_vae(vae, 2, finish=to_bytes)
    (frames,) = tiled.decode_stream([given])
    assert frames.dtype == torch.uint8
    assert torch.equal(vae.decode(given), before)
    assert next(tiled.parameters()) is next(vae.parameters())


def test_tiles_are_as_large_as_what_they_trail_and_share() -> None:
    assert trailing_lines(CONFIG) == 8.5
    assert tile_sizes(CONFIG, 20, 2) == [19, 1]
    assert tile_sizes(CONFIG, 60, 4) == [24, 15, 15, 6]
    assert tile_sizes(CONFIG, 8, 4) == [8]
