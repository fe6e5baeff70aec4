"""The VAE is causal, streams exactly, and keeps its memory bounded."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from videogen.errors import NonFiniteError
from videogen.models.config import VAEConfig
from videogen.models.vae import PixelNorm, VideoVAE, to_bytes


def small_vae(pixel_shuffle: int = 4) -> VideoVAE:
    torch.manual_seed(0)
    return VideoVAE(
        VAEConfig(latent_channels=4, pixel_shuffle=pixel_shuffle, widths=(8, 12, 16))
    ).requires_grad_(False)


def latents(frames: int, seed: int = 0) -> Tensor:
    return torch.randn(1, 4, frames, 4, 6, generator=torch.Generator().manual_seed(seed))


def test_shapes_are_four_times_and_eight_times_smaller() -> None:
    for pixel_shuffle in (2, 4):
        vae = small_vae(pixel_shuffle)
        frames = torch.rand(2, 3, 17, 32, 48)
        encoded = vae.encode(frames)
        assert encoded.shape == (2, 4, 5, 4, 6)
        assert vae.decode(encoded).shape == frames.shape


def test_one_frame_is_one_latent_frame() -> None:
    vae = small_vae()
    assert vae.encode(torch.rand(1, 3, 1, 32, 48)).shape[2] == 1
    assert vae.decode(latents(1)).shape[2] == 1


@given(cuts=st.lists(st.integers(1, 4), min_size=1, max_size=4), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_streamed_decode_equals_full_decode_bit_for_bit(cuts: list[int], seed: int) -> None:
    vae = small_vae()
    whole = latents(sum(cuts), seed)
    chunks = whole.split(cuts, dim=2)
    streamed = torch.cat(list(vae.decode_stream(chunks)), dim=2)
    assert torch.equal(streamed, vae.decode(whole))


def test_streamed_decode_equals_the_pass_training_uses() -> None:
    vae = small_vae()
    whole = latents(6)
    torch.testing.assert_close(vae.decode(whole), vae.decode_at_once(whole), atol=1e-5, rtol=1e-5)


def test_a_stream_continues_from_its_cache() -> None:
    vae = small_vae()
    whole = latents(5)
    cache: dict[str, Tensor] = {}
    first = list(vae.decode_stream([whole[:, :, :2]], cache))
    copied = {name: past.clone() for name, past in cache.items()}
    rest = list(vae.decode_stream([whole[:, :, 2:]], copied))
    assert torch.equal(torch.cat(first + rest, dim=2), vae.decode(whole))


def test_the_cache_does_not_grow_with_the_clip() -> None:
    vae = small_vae()
    sizes = []
    cache: dict[str, Tensor] = {}
    for _ in vae.decode_stream([latents(12)], cache):
        sizes.append(sum(past.numel() for past in cache.values()))
    assert len(set(sizes[1:])) == 1


def test_later_frames_do_not_change_earlier_ones() -> None:
    vae = small_vae()
    frames = torch.rand(1, 3, 13, 32, 48)
    other = frames.clone()
    other[:, :, 9:] = torch.rand(1, 3, 4, 32, 48)
    a, b = vae.encode(frames), vae.encode(other)
    torch.testing.assert_close(a[:, :, :3], b[:, :, :3])
    assert not torch.allclose(a[:, :, 3:], b[:, :, 3:])
    whole = latents(4)
    torch.testing.assert_close(
        vae.decode_at_once(whole)[:, :, :9], vae.decode_at_once(whole[:, :, :3])
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_has_room_for_the_squares_of_a_norm(dtype: torch.dtype) -> None:
    x = torch.tensor([300.0, -280.0, 260.0, 1.0]).view(1, 4, 1, 1, 1)
    found = PixelNorm(4).to(dtype)(x.to(dtype))
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), PixelNorm(4)(x), atol=0, rtol=0.01)


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_pixels_that_are_no_numbers_are_an_error(number: str, dtype: torch.dtype) -> None:
    frames = torch.full((1, 3, 4, 64, 64), 10.0, dtype=dtype)  # whose sum float16 cannot hold
    assert (to_bytes(frames) == 255).all()
    frames[0, 1, 2, 3, 4] = float(number)
    with pytest.raises(NonFiniteError, match="frames: got NaN or infinity"):
        to_bytes(frames)
