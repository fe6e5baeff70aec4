"""Decoding in tiles is decoding: same frames, less memory, nothing computed twice."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from tests.unit.videogen.parallel.small_vaes import TOLERANCE, VAES, Threads, noise
from videogen.models.vae import VideoVAE
from videogen.parallel.vae import parallelize_vae
from videogen.parallel.vae_tiles import tile_sizes, tile_vae, trailing_lines


@settings(max_examples=60)
@given(
    num_tiles=st.integers(1, 5),
    fold=st.sampled_from([2, 4]),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 16), st.integers(1, 16)),
)
def test_tiles_give_the_same_frames(num_tiles, fold, shape):
    latents = noise(1, 3, *shape)

    found = tile_vae(VAES[fold], num_tiles).decode(latents)

    torch.testing.assert_close(found, VAES[fold].decode(latents), atol=TOLERANCE, rtol=0)


def test_a_stream_continues_from_its_cache():
    latents, vae, cache = noise(1, 3, 4, 20, 3), tile_vae(VAES[4], 3), {}

    first = list(vae.decode_stream([latents[:, :, :2]], cache))
    rest = list(vae.decode_stream([latents[:, :, 2:]], cache))

    torch.testing.assert_close(
        torch.cat([*first, *rest], dim=2), VAES[4].decode(latents), atol=TOLERANCE, rtol=0
    )


def test_no_pixel_is_computed_twice():
    latents = noise(1, 3, 2, 24, 4)
    counted = []
    for vae in (VAES[4], tile_vae(VAES[4], 3)):
        with FlopCounterMode(display=False) as counter:
            vae.decode(latents)
        counted.append(counter.get_total_flops())

    assert counted[0] == counted[1]


def test_a_pixel_depends_on_no_line_farther_away():
    latents = noise(1, 3, 1, 30, 1)
    changed = latents.clone()
    changed[:, :, :, 15] += 1

    for vae in VAES.values():
        reach = float(trailing_lines(vae.config) * 8)
        differs = (vae.decode(latents) - vae.decode(changed))[0, 0, 0, :, 0].nonzero().flatten()
        assert differs.min() >= 15 * 8 - reach
        assert differs.max() < 16 * 8 + reach
        assert differs.numel() > 8 + reach  # the bound is not idle


def test_tiles_are_even_where_frames_come_out():
    assert tile_sizes(VAES[4].config, 60, 1) == [60]
    assert tile_sizes(VAES[4].config, 60, 3) == [27, 20, 13]
    assert tile_sizes(VAES[4].config, 4, 3) == [4]


def test_tiles_are_finished_one_by_one():
    seen = []
    vae = tile_vae(VAES[4], 2, lambda frames: seen.append(frames.shape[3]) or frames)

    next(vae.decode_stream([noise(1, 3, 1, 32, 2)]))

    assert sum(seen) == 32 * 8
    assert max(seen) <= 17 * 8


def test_the_vae_itself_stays_as_it_is():
    latents = noise(1, 3, 2, 20, 2)
    before = VAES[2].decode(latents)

    tile_vae(VAES[2], 2).decode(latents)

    assert type(VAES[2]) is VideoVAE
    assert torch.equal(VAES[2].decode(latents), before)


def test_a_vae_on_many_ranks_is_cut_already():
    sharded = parallelize_vae(VAES[4], Threads(0, 1, {}))

    assert tile_vae(sharded, 2) is sharded


@pytest.mark.parametrize("fold", [2, 4])
def test_one_tile_is_the_vae_bit_for_bit(fold):
    latents = noise(1, 3, 3, 5, 4)

    assert torch.equal(tile_vae(VAES[fold], 1).decode(latents), VAES[fold].decode(latents))
