"""Print the predicted times of docs/sharding.md: published times of one GPU, shared out.

A prediction is the published time of one GPU, times the share of its operations that the busiest
of N ranks has, plus the bytes that a rank sends over the published bandwidth, hidden behind
nothing. The text encoder, decoding, kernels that get slower as they get smaller, and waiting for
the slowest rank are not in it, so it is a bound from below.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from videogen.models.config import DiTConfig, VAEConfig
from videogen.parallel import planner_work as work
from videogen.parallel.planner import best_ulysses_degree, step_communicate_s
from videogen.parallel.planner_hardware import GPUS, Hardware
from videogen.parallel.planner_work import ClipDemand, Degrees

COUNTS = (1, 2, 4, 8, 16, 32, 64)
LATTE = DiTConfig(in_channels=4, width=1152, depth=28, num_heads=16, text_width=4096)
OPEN_SORA = LATTE
WAN_SMALL = DiTConfig(
    width=1536, depth=30, num_heads=12, mlp_ratio=8960 / 1536, text_width=4096, attention="joint"
)
WAN_LARGE = DiTConfig(
    width=5120, depth=40, num_heads=40, mlp_ratio=13824 / 5120, text_width=4096, attention="joint"
)


class FlatVAE(VAEConfig):
    """8x in space, nothing in time, as Latte-1's."""

    @property
    def time_factor(self) -> int:
        return 1


@dataclass(frozen=True)
class Anchor:
    """A published time of one GPU."""

    name: str
    demand: ClipDemand
    hardware: Hardware
    alone_s: float
    steps: int
    published: dict[int, float]
    """Published seconds by number of GPUs, to stand beside what is predicted."""

    def predict_s(self, degrees: Degrees) -> float:
        """Seconds with these degrees."""
        one = 2 * work.rank_flops(self.demand, Degrees())
        forwards = work.forwards_per_step(self.demand, degrees)
        share = forwards * work.rank_flops(self.demand, degrees) / one
        return self.alone_s * share + self.steps * step_communicate_s(
            self.demand, self.hardware, degrees
        )


def demand(dit: DiTConfig, num_frames: int, height: int, width: int, vae: VAEConfig) -> ClipDemand:
    """A guided clip in half precision; parameters play no part in time."""
    return ClipDemand(
        dit=dit,
        vae=vae,
        num_frames=num_frames,
        height=height,
        width=width,
        num_text_tokens=120 if dit is LATTE else 512,
        num_inference_steps=50,
        is_guided=True,
        dtype=torch.bfloat16,
        num_dit_parameters=0,
        num_vae_parameters=0,
    )


WAN, FLAT = VAEConfig(), FlatVAE()
ANCHORS = (
    Anchor(
        "Latte-1, 512×512×16, A100",
        demand(LATTE, 16, 512, 512, FLAT),
        GPUS["a100"],
        16.25,
        50,
        {},
    ),
    Anchor(
        "Wan 2.1 1.3B, 832×480×81, A100",
        demand(WAN_SMALL, 81, 480, 832, WAN),
        GPUS["a100"],
        259.7,
        50,
        {},
    ),
    Anchor(
        "Wan 2.1 14B, 1280×720×81, A100",
        demand(WAN_LARGE, 81, 720, 1280, WAN),
        GPUS["a100"],
        3342.6,
        50,
        {2: 1722.0, 4: 886.1, 8: 469.9},
    ),
    Anchor(
        "Wan 2.1 14B, 1280×720×81, H100",
        demand(WAN_LARGE, 81, 720, 1280, WAN),
        GPUS["h100"],
        1837.9,
        50,
        {2: 945.1, 4: 497.0, 8: 287.9},
    ),
    Anchor(
        "Wan 2.1 14B step, 832×480×81, H100",
        demand(WAN_LARGE, 81, 480, 832, WAN),
        GPUS["h100"],
        5.18,
        1,
        {8: 0.75},
    ),
    Anchor(
        "Open-Sora, 512×512×80, H800",
        demand(OPEN_SORA, 24, 512, 512, FLAT),  # 80 frames, 5 latent frames for every 17
        GPUS["h800"],
        106.0,
        30,
        {8: 22.0},
    ),
    Anchor(
        "Latte-1, 1024×1024×16, L20",
        demand(LATTE, 16, 1024, 1024, FLAT),
        GPUS["l20"],
        214.0,
        50,
        {2: 124.0, 4: 90.0, 8: 60.0},
    ),
)


def degrees_for(clip: ClipDemand, num_gpus: int) -> Degrees:
    """The halves of guidance first, then tokens."""
    cfg = min(2, num_gpus)
    seq = num_gpus // cfg
    return Degrees(cfg, seq, best_ulysses_degree(clip, seq))


def cell(anchor: Anchor, num_gpus: int) -> str:
    """Predicted seconds and speed-up; the published ones beside them."""
    seconds = anchor.predict_s(degrees_for(anchor.demand, num_gpus))
    text = f"{seconds:.3g} s ({anchor.alone_s / seconds:.1f}×)"
    if num_gpus in anchor.published:
        known = anchor.published[num_gpus]
        text += f"; published {known:g} s ({anchor.alone_s / known:.2f}×)"
    return text


def main() -> None:
    print("| GPUs | cfg × seq | " + " | ".join(anchor.name for anchor in ANCHORS) + " |")
    print("|---|---|" + "---|" * len(ANCHORS))
    for num_gpus in COUNTS:
        cfg = min(2, num_gpus)
        cells = [cell(anchor, num_gpus) for anchor in ANCHORS]
        print(f"| {num_gpus} | {cfg} × {num_gpus // cfg} | " + " | ".join(cells) + " |")
    print()
    for anchor in ANCHORS:
        degrees = degrees_for(anchor.demand, 8)
        sent = work.step_bytes(anchor.demand, degrees)
        print(f"{anchor.name}: {sent / 1e9:.3g} GB a rank and step on 8 GPUs")


if __name__ == "__main__":
    main()
