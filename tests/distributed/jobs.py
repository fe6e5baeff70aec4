"""What ranks are asked to do; imported by their processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

import videogen
from tests.distributed.cases import (
    Case,
    count_flops,
    make_denoiser,
    make_dit,
    make_latents,
    make_sigma,
    make_text,
)
from tests.distributed.pool import Rank
from tests.unit.videogen.models.test_cost import PeakMemory
from videogen.diffusion.denoiser import Denoiser
from videogen.diffusion.guidance import one_by_one
from videogen.models.variant import AS_IT_IS, Variant
from videogen.parallel.apply import parallelize, parallelize_generator
from videogen.parallel.halves import OverlappedHalves, SplitHalves

Snapshot = dict[str, dict[str, float]]


def denoise(rank: Rank, case: Case) -> np.ndarray:
    """One guided evaluation on a mesh."""
    mesh = rank.mesh(case.cfg_degree, case.seq_degree)
    dit = parallelize(make_dit(case), mesh, case.ulysses_degree)
    halves = SplitHalves(mesh.cfg) if mesh.cfg.size > 1 else one_by_one
    return make_denoiser(case, dit, halves)(make_latents(case), make_sigma(case)).numpy()


def denoise_overlapped(rank: Rank, case: Case) -> tuple[bool, Snapshot, Snapshot]:
    """Whether overlapping the halves changes no bit, and what each way sends."""
    mesh = rank.mesh(1, case.seq_degree)
    dit, x, sigma = parallelize(make_dit(case), mesh), make_latents(case), make_sigma(case)
    with torch.inference_mode():
        plain = make_denoiser(case, dit)(x, sigma)
        before = mesh.counters.snapshot()
        mesh.counters.reset()
        overlapped = make_denoiser(case, dit, OverlappedHalves(mesh))(x, sigma)
    return torch.equal(plain, overlapped), before, mesh.counters.snapshot()


def fail_overlapped(rank: Rank, failing: int) -> str:
    """How an error in one half comes out."""
    mesh = rank.mesh(1, 2)

    def half(index: int) -> Denoiser:
        def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
            whole = mesh.seq.all_to_all(x, (0, (1, 1)), (1, (1, 1)), "test")
            if index == failing:
                raise ValueError(f"half {index}")
            return whole

        return denoiser

    try:
        OverlappedHalves(mesh)(half(0), half(1), torch.zeros(2, 1), torch.tensor(1.0))
    except ValueError as error:
        return str(error)
    return "none"


def traffic(rank: Rank, case: Case) -> Snapshot:
    """What one guided evaluation sends."""
    mesh = rank.mesh(case.cfg_degree, case.seq_degree)
    denoise(rank, case)
    return mesh.counters.snapshot()


def flops(rank: Rank, case: Case) -> int:
    """What one forward computes."""
    dit = parallelize(make_dit(case), rank.mesh(1, case.seq_degree))
    return count_flops(case, dit)


def forward_peak_bytes(rank: Rank, case: Case) -> int:
    """Memory of all tensors of one forward at its peak, weights and inputs aside."""
    dit = parallelize(make_dit(case), rank.mesh(1, case.seq_degree))
    x, time, text = make_latents(case), torch.full((case.batch,), 500.0), make_text(case, 3)
    with PeakMemory() as memory:
        dit(x, time, text)
    return memory.peak_bytes


def make_clip(
    rank: Rank, case: Case, fields: dict[str, Any], variant: Variant = AS_IT_IS, **options: Any
) -> tuple[np.ndarray, Snapshot]:
    """Latents of one clip of the default model, and what making them sends."""
    mesh = rank.mesh(case.cfg_degree, case.seq_degree)
    generator = videogen.load("default", device="cpu", variant=variant)
    generator = parallelize_generator(generator, mesh, **options)
    latents = generator.denoise(generator.resolve(**fields))
    return latents.numpy(), mesh.counters.snapshot()


def stream_clip(
    rank: Rank, case: Case, fields: dict[str, Any], num_done: int
) -> tuple[np.ndarray, np.ndarray, bytes]:
    """Frames after the first chunks: decoded on from them, and after their state; that state."""
    mesh = rank.mesh(case.cfg_degree, case.seq_degree)
    generator = parallelize_generator(videogen.load("default", device="cpu"), mesh)
    request = generator.resolve(**fields)
    chunks, cache = list(generator.stream(request)), {}
    parts = [np.concatenate(list(generator.decode_chunk(c, cache))) for c in chunks]
    state = chunks[num_done - 1].state
    cache = generator.decoder_cache(state)
    rest = [f for c in generator.stream(request, state) for f in generator.decode_chunk(c, cache)]
    return np.concatenate(parts[num_done:]), np.concatenate(rest), state.to_bytes()


def shard_weights_and_denoise(rank: Rank, case: Case, offload: bool) -> tuple[np.ndarray, float]:
    """One guided evaluation with divided weights, and the part of them that this rank keeps."""
    from videogen.parallel.weights import local_weight_bytes, shard_weights

    mesh, dit = rank.mesh(case.cfg_degree, case.seq_degree), make_dit(case)
    whole = local_weight_bytes(dit)
    shard_weights(parallelize(dit, mesh), mesh, device="cpu", offload=offload)
    halves = SplitHalves(mesh.cfg) if mesh.cfg.size > 1 else one_by_one
    with torch.inference_mode():
        denoiser = make_denoiser(case, dit, halves)
        denoiser(make_latents(case), make_sigma(case))
        denoised = denoiser(make_latents(case), make_sigma(case))  # finds them divided again
    kept = local_weight_bytes(dit) / whole
    assert mesh.counters.of("gang", "weights").bytes > 0
    return denoised.numpy(), kept
