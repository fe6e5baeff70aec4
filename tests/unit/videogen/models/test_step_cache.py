from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from videogen.errors import ConfigError
from videogen.models.config import DiTConfig
from videogen.models.dit import SpacetimeDiT
from videogen.models.latte.config import LatteConfig
from videogen.models.latte.transformer import LatteTransformer
from videogen.models.step_cache import StepMemory, install_step_cache, remembering
from videogen.models.text import TextEmbedding
from videogen.models.variant import StepCache
from videogen.models.wan.config import WanConfig
from videogen.models.wan.transformer import WanTransformer

FIRST = StepCache("first_block", threshold=1e9, start=0.0)
PYRAMID = StepCache("pyramid", ranges=(2, 3, 4), start=0.0)


def drawn(dit):
    generator = torch.Generator().manual_seed(0)
    for parameter in dit.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    return dit.eval().requires_grad_(False)


def default(attention="factorized"):
    config = DiTConfig(
        in_channels=4, width=24, depth=3, num_heads=2, text_width=20, attention=attention
    )
    return drawn(SpacetimeDiT(config))


def wan():
    return drawn(
        WanTransformer(
            WanConfig(
                num_attention_heads=2,
                attention_head_dim=12,
                in_channels=4,
                out_channels=4,
                text_dim=20,
                freq_dim=16,
                ffn_dim=32,
                num_layers=3,
            )
        )
    )


def latte():
    return drawn(
        LatteTransformer(
            LatteConfig(
                num_attention_heads=2,
                attention_head_dim=12,
                cross_attention_dim=24,
                num_layers=2,
                caption_channels=20,
            )
        )
    )


TEXT = torch.randn(1, 5, 20, generator=torch.Generator().manual_seed(3))


def call(model, level: float) -> Tensor:
    latents = torch.randn(1, 4, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    text = TextEmbedding(TEXT, torch.ones(1, 5).bool(), TEXT[:, 0])
    return model(latents * (1 + level / 1000), torch.tensor([level]), text=text)


def counted(dit, names: tuple[str, ...]) -> dict[str, int]:
    counts = dict.fromkeys(names, 0)
    for name in names:

        def hook(module, args, out, name=name):
            counts[name] += 1

        dit.get_submodule(name).register_forward_hook(hook)
    return counts


@pytest.mark.parametrize("make", [default, wan, latte])
@pytest.mark.parametrize("cache", [FIRST, PYRAMID])
def test_without_a_memory_nothing_changes(make, cache):
    if make is wan and cache is PYRAMID:
        pytest.skip("joint attention")
    dit = make()
    expected = call(dit, 500.0)
    install_step_cache(dit, cache)
    assert torch.equal(call(dit, 500.0), expected)


@pytest.mark.parametrize("make", [default, wan, latte])
def test_a_threshold_of_zero_computes_every_step(make):
    dit = make()
    expected = [call(dit, level) for level in (900.0, 890.0, 880.0)]
    cache = replace(FIRST, threshold=0.0)
    install_step_cache(dit, cache)
    model = remembering(dit, StepMemory(cache, 3))
    for level, whole in zip((900.0, 890.0, 880.0), expected, strict=True):
        torch.testing.assert_close(call(model, level), whole)


def test_the_rest_of_the_blocks_is_left_out_and_its_share_added():
    dit = default()
    install_step_cache(dit, FIRST)
    counts = counted(dit, ("blocks.0.inner", "blocks.1.inner", "blocks.2.inner"))
    model = remembering(dit, StepMemory(FIRST, 10))
    whole = call(model, 500.0)
    torch.testing.assert_close(call(model, 500.0), whole)
    torch.testing.assert_close(call(model, 500.0), whole)
    assert counts == {"blocks.0.inner": 3, "blocks.1.inner": 1, "blocks.2.inner": 1}


def test_positions_between_blocks_are_added_once():
    dit = latte()
    install_step_cache(dit, FIRST)
    model = remembering(dit, StepMemory(FIRST, 10))
    whole = call(model, 500.0)
    torch.testing.assert_close(call(model, 500.0), whole)


def test_change_adds_up_until_it_is_too_much():
    levels = [900.0 - step for step in range(8)]
    caches = [replace(FIRST, threshold=threshold) for threshold in (0.0, 0.6, 1e9)]
    computed = []
    for cache in caches:
        fresh = default()
        install_step_cache(fresh, cache)
        counts = counted(fresh, ("blocks.2.inner",))
        model = remembering(fresh, StepMemory(cache, 8))
        for level in levels:
            call(model, level)
        computed.append(counts["blocks.2.inner"])
    assert computed[0] == 8
    assert computed[0] > computed[1] > computed[2] == 1


def test_the_first_steps_and_the_last_are_whole():
    cache = replace(FIRST, start=0.3, end=0.8)
    dit = default()
    install_step_cache(dit, cache)
    counts = counted(dit, ("blocks.2.inner",))
    model = remembering(dit, StepMemory(cache, 10))
    seen = []
    for _ in range(10):
        call(model, 500.0)
        seen.append(counts["blocks.2.inner"])
    assert seen == [1, 2, 3, 3, 3, 3, 3, 3, 4, 5]


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (
            default,
            (
                "blocks.1.self_attentions.0.inner.inner",
                "blocks.1.self_attentions.1.inner.inner",
                "blocks.1.cross_attention.inner",
            ),
        ),
        (
            latte,
            (
                "transformer_blocks.1.attn1.inner",
                "temporal_transformer_blocks.1.attn1.inner",
                "transformer_blocks.1.attn2.inner",
            ),
        ),
    ],
)
def test_attention_is_used_again_for_its_range(make, names):
    dit = make()
    install_step_cache(dit, PYRAMID)
    counts = counted(dit, names)
    model = remembering(dit, StepMemory(PYRAMID, 12))
    for _ in range(12):
        call(model, 500.0)
    assert list(counts.values()) == [6, 4, 3]


def test_two_memories_do_not_mix():
    dit = default()
    alone = call(dit, 500.0), call(dit, 100.0)
    install_step_cache(dit, FIRST)
    first, second = (remembering(dit, StepMemory(FIRST, 4)) for _ in range(2))
    for _ in range(2):
        torch.testing.assert_close(call(first, 500.0), alone[0])
        torch.testing.assert_close(call(second, 100.0), alone[1])


def test_pyramid_needs_factorized_attention():
    with pytest.raises(ConfigError, match="factorized"):
        install_step_cache(wan(), PYRAMID)
    with pytest.raises(ConfigError, match="first_block"):
        install_step_cache(default("joint"), PYRAMID)


@pytest.mark.parametrize(
    "fields", [{"threshold": -1.0}, {"ranges": (0, 1, 1)}, {"start": 0.9, "end": 0.1}]
)
def test_settings_that_make_no_sense(fields):
    with pytest.raises(ConfigError, match="cache"):
        StepCache("first_block", **fields)
