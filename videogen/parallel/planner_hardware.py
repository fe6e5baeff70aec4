"""GPUs that plans are made for: published peak numbers, nothing measured here."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from videogen.registry import Registry

GB = 10**9


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """One kind of GPU and what connects it; bandwidths are of one GPU, in one direction."""

    name: str
    memory_bytes: int
    half_flops_per_s: float
    """Peak of dense matrix products in bfloat16 or float16."""
    single_flops_per_s: float
    """Peak in float32."""
    near_bytes_per_s: float
    """To GPUs of the same node."""
    far_bytes_per_s: float
    """To other nodes."""
    gpus_per_node: int = 8

    def flops_per_s(self, dtype: torch.dtype) -> float:
        """Peak in a dtype."""
        return self.single_flops_per_s if dtype == torch.float32 else self.half_flops_per_s

    def with_memory(self, memory_bytes: int) -> Hardware:
        """The same with another memory."""
        return replace(self, memory_bytes=memory_bytes)


# NVIDIA's data sheets. NVLink's 900, 600 and 400 GB/s are the sum of both directions; nodes have
# one InfiniBand port a GPU: 400 Gb/s (NDR) with Hopper, 200 Gb/s (HDR) with Ampere and the L20.
GPUS: Registry[Hardware] = Registry(
    "gpu",
    {
        gpu.name: gpu
        for gpu in (
            Hardware(
                name="a100",
                memory_bytes=80 * GB,
                half_flops_per_s=312e12,
                single_flops_per_s=19.5e12,
                near_bytes_per_s=300e9,
                far_bytes_per_s=25e9,
            ),
            Hardware(
                name="h100",
                memory_bytes=80 * GB,
                half_flops_per_s=989e12,
                single_flops_per_s=67e12,
                near_bytes_per_s=450e9,
                far_bytes_per_s=50e9,
            ),
            Hardware(
                name="h200",
                memory_bytes=141 * GB,
                half_flops_per_s=989e12,
                single_flops_per_s=67e12,
                near_bytes_per_s=450e9,
                far_bytes_per_s=50e9,
            ),
            Hardware(
                name="h800",
                memory_bytes=80 * GB,
                half_flops_per_s=989e12,
                single_flops_per_s=67e12,
                near_bytes_per_s=200e9,
                far_bytes_per_s=50e9,
            ),
            Hardware(
                name="l20",
                memory_bytes=48 * GB,
                half_flops_per_s=119.5e12,
                single_flops_per_s=59.8e12,
                near_bytes_per_s=32e9,
                far_bytes_per_s=25e9,
            ),
        )
    },
)
