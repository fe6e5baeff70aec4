"""Costs computed from configurations must be those of the models that the configurations build."""

from __future__ import annotations

import dataclasses
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from videogen.models import cost
from videogen.models.config import DiTConfig, VAEConfig
from videogen.models.dit import SpacetimeDiT
from videogen.models.text import TextEmbedding
from videogen.models.vae import VideoVAE

SMALL = DiTConfig(in_channels=4, width=32, depth=2, num_heads=2, text_width=24, patch=(1, 2, 1))
SHAPE = (4, 5, 6, 4)
KINDS = ("factorized", "joint", "windowed")
VAES = (
    VAEConfig(latent_channels=4, widths=(8, 16, 24), pixel_shuffle=4, detail_width=2),
    VAEConfig(latent_channels=4, widths=(64, 80, 96), pixel_shuffle=4, detail_width=4),
    VAEConfig(latent_channels=4, widths=(8, 8, 8), detail_width=12, detail_blocks=1),
    VAEConfig(
        latent_channels=6,
        widths=(16, 32, 48),
        pixel_shuffle=2,
        encoder_blocks=(1, 1, 2),
        decoder_blocks=(3, 2, 1),
        detail_width=10,
        detail_blocks=3,
    ),
)


def text_of(dit: DiTConfig, batch_size: int, num_tokens: int) -> TextEmbedding:
    return TextEmbedding(
        tokens=torch.randn(batch_size, num_tokens, dit.text_width),
        mask=torch.ones(batch_size, num_tokens, dtype=torch.bool),
        pooled=torch.randn(batch_size, dit.text_width),
    )


def counted_flops(module: nn.Module, *inputs: Any) -> int:
    """What torch counts, with attention unfused: it has no count for the kernel of the CPU."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        module(*inputs)
    return counter.get_total_flops()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("batch_size,num_text_tokens", [(1, 7), (3, 2)])
def test_forward_flops_are_what_torch_counts(kind, causal, batch_size, num_text_tokens):
    dit = dataclasses.replace(SMALL, attention=kind, causal=causal, mlp_ratio=2.5)
    expected = counted_flops(
        SpacetimeDiT(dit).eval(),
        torch.randn(batch_size, *SHAPE),
        torch.zeros(batch_size),
        text_of(dit, batch_size, num_text_tokens),
    )
    got = cost.forward_flops(dit, SHAPE, num_text_tokens, batch_size)
    assert got.total == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_stage_at_single_cells_costs_what_torch_counts(kind):
    dit = dataclasses.replace(SMALL, attention=kind, detail_depth=3, detail_width=20)
    expected = counted_flops(
        SpacetimeDiT(dit).eval(), torch.randn(2, *SHAPE), torch.zeros(2), text_of(dit, 2, 7)
    )
    assert cost.forward_flops(dit, SHAPE, 7, 2).total == expected


@pytest.mark.parametrize("vae", VAES)
def test_decode_flops_are_what_torch_counts(vae):
    latents = torch.randn(1, vae.latent_channels, 3, 2, 4)
    expected = counted_flops(VideoVAE(vae).decoder, latents)
    assert cost.decode_flops(vae, (vae.latent_channels, 3, 2, 4)) == expected


def test_tokens_are_the_latent_grid_over_the_patch():
    assert cost.token_grid(SMALL, SHAPE) == (5, 12)
    assert cost.num_tokens(SMALL, SHAPE) == 60


def allowed_pairs(dit: DiTConfig, t: int, s: int) -> int:
    """Count pair by pair what may attend to what."""
    count = 0
    for query in range(t * s):
        for key in range(t * s):
            (i, a), (j, b) = divmod(query, s), divmod(key, s)
            in_time = (j <= i or not dit.causal) and (
                dit.attention != "windowed" or abs(i - j) <= dit.window
            )
            if dit.attention == "factorized":
                count += (i == j) + (a == b and in_time)
            else:
                count += in_time
    return count


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [1, 2, 9])
def test_attended_pairs_are_those_counted_one_by_one(kind, causal, window):
    dit = dataclasses.replace(SMALL, attention=kind, causal=causal, window=window)
    assert cost.attended_pairs(dit, SHAPE) == allowed_pairs(dit, 5, 12)
    assert cost.attended_pairs(dit, SHAPE) <= cost.attention_pairs(dit, SHAPE)


def test_factorized_attention_falls_behind_joint_by_the_harmonic_ratio():
    joint = dataclasses.replace(SMALL, attention="joint")
    shape = (4, 20, 60, 52)
    t, s = cost.token_grid(SMALL, shape)
    ratio = cost.attention_pairs(joint, shape) / cost.attention_pairs(SMALL, shape)
    assert ratio == pytest.approx(t * s / (t + s))
    flops = cost.forward_flops(joint, shape, 8), cost.forward_flops(SMALL, shape, 8)
    assert flops[0].self_attention / flops[1].self_attention == pytest.approx(ratio)


def test_a_clip_is_its_steps_its_guidance_and_its_decoding():
    vae = VAES[0]
    forward = cost.forward_flops(SMALL, SHAPE, 7).total
    decode = cost.decode_flops(vae, SHAPE)
    guided = cost.clip_flops(SMALL, vae, SHAPE, num_text_tokens=7, num_inference_steps=10)
    plain = cost.clip_flops(
        SMALL, vae, SHAPE, num_text_tokens=7, num_inference_steps=10, guided=False
    )
    assert guided == 20 * forward + decode
    assert plain == 10 * forward + decode
    assert cost.estimate_seconds(3e12, 1.5e12) == 2.0


@pytest.mark.parametrize("vae", VAES)
def test_compression_is_pixels_over_latents(vae):
    frames = torch.randn(1, 3, 9, 16, 24)
    with torch.no_grad():
        latents = VideoVAE(vae).encode(frames)
    expected = frames.numel() / latents.numel()
    assert cost.compression_ratio(vae, 9, 16, 24) == pytest.approx(expected)


def test_weights_take_their_dtype():
    module = SpacetimeDiT(SMALL).to(torch.bfloat16)
    parameters = list(module.parameters())
    held = sum(p.untyped_storage().nbytes() for p in parameters)
    assert cost.weight_bytes(sum(p.numel() for p in parameters), torch.bfloat16) == held


class PeakMemory(TorchDispatchMode):
    """Bytes of storages that operators made inside this block and that were alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.live_bytes = self.peak_bytes = 0
        self._tracked: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = {_key(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and _key(leaf) not in given | self._tracked:
                self._track(leaf)
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        return out

    def _track(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        self._tracked.add(_key(tensor))
        self.live_bytes += storage.nbytes()
        weakref.finalize(storage, self._forget, _key(tensor), storage.nbytes())

    def _forget(self, key: int, num_bytes: int) -> None:
        self._tracked.discard(key)
        self.live_bytes -= num_bytes


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


@pytest.mark.parametrize(
    "kind,mlp_ratio", [("factorized", 4.0), ("joint", 4.0), ("joint", 2.0), ("factorized", 6.0)]
)
def test_activation_memory_is_within_a_tenth_of_what_is_held(kind, mlp_ratio):
    check_activation_bytes(
        dataclasses.replace(SMALL, width=128, attention=kind, mlp_ratio=mlp_ratio)
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("patch", [(1, 2, 2), (1, 2, 1)])
@pytest.mark.parametrize("width", [32, 96])
def test_so_it_is_with_a_stage_at_single_cells(kind, patch, width):
    detail = {"detail_depth": 2, "detail_width": width}
    check_activation_bytes(
        dataclasses.replace(SMALL, width=128, attention=kind, patch=patch, **detail)
    )


def check_activation_bytes(dit: DiTConfig) -> None:
    shape, text = (4, 5, 32, 8), text_of(dit, 1, 7)
    model, latents = SpacetimeDiT(dit).eval(), torch.randn(1, *shape)
    with torch.no_grad(), PeakMemory() as memory:
        model(latents, torch.zeros(1), text)
    assert cost.activation_bytes(dit, shape, torch.float32) == pytest.approx(
        memory.peak_bytes, rel=0.1
    )


def streaming_peak(vae: VAEConfig, length: int) -> tuple[int, int]:
    """Bytes held while decoding, and those of the cache at the end."""
    latents, cache = torch.randn(1, vae.latent_channels, length, 4, 6), {}
    model = VideoVAE(vae).eval()
    with torch.no_grad(), PeakMemory() as memory:
        for _ in model.decode_stream([latents], cache):
            pass
    held = sum(tensor.untyped_storage().nbytes() for tensor in cache.values())
    return memory.peak_bytes, held


@pytest.mark.parametrize("vae", VAES)
def test_decoding_memory_is_estimated_and_does_not_grow_with_the_clip(vae):
    peak_bytes, cache_bytes = streaming_peak(vae, length=3)
    assert streaming_peak(vae, length=6) == (peak_bytes, cache_bytes)
    assert cost.decode_cache_bytes(vae, 32, 48) == cache_bytes
    assert cost.decode_peak_bytes(vae, 32, 48) == pytest.approx(peak_bytes, rel=0.05)


def test_batches_and_dtypes_scale_activations():
    one = cost.activation_bytes(SMALL, SHAPE, torch.float32)
    assert cost.activation_bytes(SMALL, SHAPE, torch.bfloat16, batch_size=4) == 2 * one
    masked = dataclasses.replace(SMALL, attention="windowed")
    assert cost.activation_bytes(masked, SHAPE, torch.float32) == one + 60**2 * 5
