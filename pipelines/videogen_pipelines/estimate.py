"""How long a plan may take on this machine, and how much it may store: estimates, said as such."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from videogen.models.cost import decode_flops, forward_flops, num_tokens
from videogen.models.published import AnySpec
from videogen_pipelines.plan import ClipShape, Plan
from videogen_pipelines.stretches import stretches_of

# Convolutions and attention of small models reach about this share of a large matrix product's
# speed (measured with the default model on a CPU: 0.36 to 0.52, more for larger clips).
EFFICIENCY = 0.4
BITS_PER_PIXEL = 0.25  # of H.264 at the default quality, measured on rendered shapes
_SIDE, _REPEATS = 1024, 3


@dataclass(frozen=True)
class Estimate:
    """What a plan costs; `seconds` and `bytes` are estimates, `tokens` counts what goes
    through the model."""

    tokens: int
    flops: int
    seconds: float
    bytes: int


def estimate(plan: Plan, spec: AnySpec, flops_per_s: float) -> Estimate:
    """Cost of the clips that `plan` has still to make, one after the other.

    Args:
        flops_per_s: sustained rate of the hardware, see `measure_flops_per_s`.
    """
    flops = sum(count * _flops(shape, spec) for shape, count in plan.shapes.items())
    tokens = sum(count * _tokens(shape, spec) for shape, count in plan.shapes.items())
    pixels = sum(count * shape.num_pixels for shape, count in plan.shapes.items())
    return Estimate(tokens, flops, flops / flops_per_s, int(pixels * BITS_PER_PIXEL / 8))


def measure_flops_per_s() -> float:
    """Rate of a large float32 matrix product on this machine's CPU, times `EFFICIENCY`."""
    matrix = torch.randn(_SIDE, _SIDE)
    best_s = min(_time_product(matrix) for _ in range(_REPEATS))
    return EFFICIENCY * 2 * _SIDE**3 / best_s


def _time_product(matrix: torch.Tensor) -> float:
    started = time.perf_counter()
    torch.matmul(matrix, matrix)
    return time.perf_counter() - started


def _flops(shape: ClipShape, spec: AnySpec) -> int:
    """Operations of the model for every stretch at every step, and of decoding every frame once."""
    c, t, h, w = spec.latent_shape(shape.num_frames, shape.height, shape.width)
    num_text_tokens = spec.text.max_tokens
    per_evaluation = sum(
        count * forward_flops(spec.dit, (c, length, h, w), num_text_tokens).total
        for length, count in stretches_of(shape, spec).items()
    )
    return int(per_evaluation * shape.evaluations) + decode_flops(spec.vae, (c, t, h, w))


def _tokens(shape: ClipShape, spec: AnySpec) -> int:
    """Tokens through the model, those that are given again and again included."""
    c, _, h, w = spec.latent_shape(shape.num_frames, shape.height, shape.width)
    per_evaluation = sum(
        count * num_tokens(spec.dit, (c, length, h, w))
        for length, count in stretches_of(shape, spec).items()
    )
    return int(per_evaluation * shape.evaluations)
