"""Cached temporal attention gives what the uncached causal forward gives."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from videogen.errors import ConfigError
from videogen.models.attention import attention
from videogen.models.blocks import SelfAttention
from videogen.models.config import DiTConfig
from videogen.models.dit import SpacetimeDiT
from videogen.models.kv_cache import KVCache
from videogen.models.text import TextEmbedding

CONFIG = DiTConfig(in_channels=3, width=24, depth=3, num_heads=2, text_width=8, causal=True)
FRAMES = 9


@pytest.fixture(scope="module")
def model() -> SpacetimeDiT:
    torch.manual_seed(0)
    model = SpacetimeDiT(CONFIG).eval().requires_grad_(False)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture(scope="module")
def inputs() -> tuple[Tensor, Tensor, TextEmbedding]:
    torch.manual_seed(1)
    text = TextEmbedding(torch.randn(1, 4, 8), torch.ones(1, 4).bool(), torch.randn(1, 8))
    return torch.randn(1, 3, FRAMES, 4, 4), 1000 * torch.rand(1, FRAMES), text


def rollout(model: SpacetimeDiT, inputs: tuple, cache: KVCache, sizes: list[int]) -> Tensor:
    """Chunk after chunk; each is computed twice, once as if it were still noisy, once to keep."""
    latents, timesteps, text = inputs
    parts, first = [], 0
    for size in sizes:
        now = slice(first, first + size)
        cache.is_writing = False
        parts.append(model(latents[:, :, now], timesteps[:, now], text, cache=cache))
        cache.is_writing = True
        again = model(latents[:, :, now], timesteps[:, now], text, cache=cache)
        assert torch.equal(parts[-1], again)
        first += size
    return torch.cat(parts, dim=2)


@pytest.mark.parametrize("sizes", [[9], [1] * 9, [4, 2, 3], [5, 4]])
def test_a_cached_rollout_is_the_uncached_causal_forward(
    model: SpacetimeDiT, inputs: tuple, sizes: list[int]
) -> None:
    expected = model(*inputs)
    cache = KVCache(CONFIG.depth, sink=0, window=FRAMES)
    torch.testing.assert_close(rollout(model, inputs, cache, sizes), expected, atol=1e-5, rtol=0)
    assert cache.num_frames == FRAMES


def test_a_stage_at_single_cells_keeps_what_it_has_seen_too(inputs: tuple) -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(CONFIG, detail_depth=2, detail_width=12)
    model = SpacetimeDiT(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    cache = KVCache(config.depth + config.detail_depth, sink=0, window=FRAMES)
    found = rollout(model, inputs, cache, [4, 2, 3])
    torch.testing.assert_close(found, model(*inputs), atol=1e-5, rtol=0)


def test_a_window_is_the_forward_of_a_band(
    model: SpacetimeDiT, inputs: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = 3
    cached = rollout(model, inputs, KVCache(CONFIG.depth, sink=0, window=window), [1] * FRAMES)
    frame = torch.arange(FRAMES)
    distance = frame[:, None] - frame[None]
    band = (distance >= 0) & (distance <= window)

    def banded(q: Tensor, k: Tensor, v: Tensor, mask: object, **options: object) -> Tensor:
        return attention(q, k, v, band if options["causal"] else None)

    for module in model.modules():
        if isinstance(module, SelfAttention):
            monkeypatch.setattr(module, "attend", banded)
    torch.testing.assert_close(cached, model(*inputs), atol=1e-5, rtol=0)


def test_the_sink_stays_and_stands_right_before_the_window(
    model: SpacetimeDiT, inputs: tuple
) -> None:
    """With one layer, what is kept is the frames themselves: a clip without those forgotten."""
    torch.manual_seed(2)
    single = SpacetimeDiT(dataclasses.replace(CONFIG, depth=1)).eval().requires_grad_(False)
    for parameter in single.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    latents, timesteps, text = inputs
    cache = KVCache(1, sink=2, window=3)
    last = rollout(single, inputs, cache, [1] * FRAMES)[:, :, -1:]
    assert cache.num_frames == 5
    seen = [0, 1, 5, 6, 7, 8]  # the sink, the window, the frame itself
    expected = single(latents[:, :, seen], timesteps[:, seen], text)[:, :, -1:]
    torch.testing.assert_close(last, expected, atol=1e-5, rtol=0)
    assert not torch.allclose(last, single(*inputs)[:, :, -1:], atol=1e-3)


def test_a_cache_comes_back_from_its_tensors(model: SpacetimeDiT, inputs: tuple) -> None:
    latents, timesteps, text = inputs
    cache = KVCache(CONFIG.depth, sink=1, window=4)
    rollout(model, (latents[:, :, :6], timesteps[:, :6], text), cache, [3, 3])
    again = KVCache(CONFIG.depth, sink=1, window=4)
    again.restore(cache.tensors())
    rest = latents[:, :, 6:], timesteps[:, 6:], text
    assert torch.equal(model(*rest, cache=cache), model(*rest, cache=again))
    assert all(t.shape == (4, 2, 5, 12) for t in cache.tensors().values())


@pytest.mark.parametrize("change", [{"causal": False}, {"attention": "joint"}])
def test_models_that_look_ahead_are_refused(inputs: tuple, change: dict) -> None:
    model = SpacetimeDiT(dataclasses.replace(CONFIG, **change))
    with pytest.raises(ConfigError, match="expected causal and factorized"):
        model(*inputs, cache=KVCache(CONFIG.depth, 0, 4))
