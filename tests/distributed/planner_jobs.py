"""What ranks are asked to do to hold the planner to its word; imported by their processes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.distributed.pool import Rank
from tests.unit.videogen.models.test_cost import PeakMemory, text_of
from videogen.models.dit import SpacetimeDiT
from videogen.parallel.apply import parallelize
from videogen.parallel.planner_work import ClipDemand


@dataclass(frozen=True)
class Forward:
    """What one rank did in a forward."""

    flops: int
    peak_bytes: int
    sent_bytes: int


def forward(rank: Rank, demand: ClipDemand, degree: int) -> Forward:
    """One forward of a DiT whose tokens are shared by `degree` ranks."""
    mesh = rank.mesh(1, degree)
    dit = parallelize(SpacetimeDiT(demand.dit).eval().requires_grad_(False), mesh)
    inputs = (
        torch.randn(1, *demand.latent_shape),
        torch.zeros(1),
        text_of(demand.dit, 1, demand.num_text_tokens),
    )
    with PeakMemory() as memory:
        dit(*inputs)
    sent_bytes = mesh.counters.of("seq").bytes
    # Unfused: there is no count for the attention kernel of the CPU.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        dit(*inputs)
    return Forward(counter.get_total_flops(), memory.peak_bytes, sent_bytes)
