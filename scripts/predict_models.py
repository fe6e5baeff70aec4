"""Predict memory and time of published models by size of clip, without their weights.

Prints the tables of docs/models.md: nothing is measured, see `videogen.parallel.planner`.

    python scripts/predict_models.py --gpu h100
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from videogen.models.image_vae.config import ImageVAEConfig
from videogen.models.latte.config import LATTE_1
from videogen.models.latte.spec import LatteSpec
from videogen.models.published import KnownSpec
from videogen.models.published_parts import count_published
from videogen.models.wan.config import WAN_I2V_14B, WAN_T2V_1_3B, WAN_T2V_14B, WanConfig
from videogen.models.wan.spec import WanSpec
from videogen.models.wan.vae_config import WanVAEConfig
from videogen.parallel.planner import Goal, examine, plan
from videogen.parallel.planner_hardware import GPUS, Hardware
from videogen.parallel.planner_work import Degrees
from videogen_pipelines.sharding import ClipKind, clip_demand
from videogen_pipelines.summary import format_seconds

T5_XXL = {
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
}
CLIP_H = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "patch_size": 14,
    "image_size": 224,
}
GB = 1e9


@dataclass(frozen=True)
class Size:
    """Of a clip; frames, height, width."""

    num_frames: int
    height: int
    width: int


WAN_SIZES = (Size(81, 480, 832), Size(81, 720, 1280))
CASES: dict[str, tuple[WanConfig | None, bool, tuple[Size, ...]]] = {
    "Wan 2.1 T2V 1.3B": (
        WAN_T2V_1_3B,
        False,
        (Size(49, 480, 832), *WAN_SIZES[:1], Size(241, 480, 832)),
    ),
    "Wan 2.1 T2V 14B": (WAN_T2V_14B, False, WAN_SIZES),
    "Wan 2.1 I2V 14B": (WAN_I2V_14B, False, (*WAN_SIZES, Size(161, 480, 832))),
    "Wan 2.2 T2V A14B": (WAN_T2V_14B, True, WAN_SIZES),
    "Latte-1": (None, False, (Size(16, 512, 512), Size(64, 512, 512))),
}


def spec_of(folder: Path, wan: WanConfig | None, experts: bool) -> KnownSpec:
    """A description as the published folder gives it; only encoders' sizes are on disk."""
    text: dict[str, Any] = {"model_type": "t5" if wan is None else "umt5"}
    text["vocab_size"] = 32128 if wan is None else 256384
    for name, said in (("text_encoder", T5_XXL | text), ("image_encoder", CLIP_H)):
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text(json.dumps(said))
    if wan is None:
        return LatteSpec(
            folder=folder,
            dit=LATTE_1,
            vae=ImageVAEConfig(),
            vae_folder="vae",
            scheduler={"_class_name": "DDIMScheduler"},
        )
    return WanSpec(
        folder=folder,
        dit=wan,
        low_noise_dit=wan if experts else None,
        boundary_ratio=0.875 if experts else None,
        vae=WanVAEConfig(),
        scheduler={"_class_name": "UniPCMultistepScheduler"},
    )


def row(spec: KnownSpec, size: Size, hardware: Hardware, num_gpus: int) -> list[str]:
    """Size, memory and time on one GPU, and on several that make one clip together."""
    steps = spec.sampling["num_inference_steps"]
    kind = ClipKind(size.num_frames, size.height, size.width, steps, is_guided=True)
    demand = clip_demand(spec, kind, torch.bfloat16)
    roomy = replace(hardware, memory_bytes=10**13)
    alone = examine(demand, roomy, Goal(num_gpus=1, num_clips=1), Degrees())
    fits = alone.memory.peak <= 0.9 * hardware.memory_bytes
    best = plan(demand, hardware, Goal(num_gpus=num_gpus, num_clips=1)).best
    shared = ", divided weights" if best.shared_weights else ""
    return [
        f"{size.width}×{size.height}×{size.num_frames}",
        f"{alone.memory.weights / GB:.0f}",
        f"{alone.memory.denoise / GB:.1f}",
        f"{alone.memory.decode / GB:.1f}",
        f"{alone.memory.peak / GB:.0f}{'' if fits else ' (too large)'}",
        format_seconds(alone.clip_s),
        f"cfg {best.degrees.cfg} × seq {best.degrees.seq}{shared}",
        f"{best.memory.peak / GB:.0f}",
        format_seconds(best.clip_s),
    ]


def main() -> None:
    """Print a table a model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpu", default="h100", choices=GPUS.names())
    parser.add_argument("--num-gpus", type=int, default=8)
    options = parser.parse_args()
    hardware = GPUS[options.gpu]
    heads = "clip, weights, denoise, decode, one GPU needs, takes, "
    heads += f"{options.num_gpus} GPUs as, each needs, take"
    for name, (wan, experts, sizes) in CASES.items():
        with tempfile.TemporaryDirectory() as root:
            spec = spec_of(Path(root), wan, experts)
            counts = count_published(spec)
            print(
                f"\n{name}: DiT {counts.dit / GB:.2f} G, text {(counts.text or 0) / GB:.2f} G, ",
                end="",
            )
            print(f"VAE {counts.vae / GB:.3f} G, image {counts.image / GB:.2f} G parameters\n")
            print("|", " | ".join(heads.split(", ")), "|")
            print("|---" * len(heads.split(", ")) + "|")
            for size in sizes:
                print("|", " | ".join(row(spec, size, hardware, options.num_gpus)), "|")


if __name__ == "__main__":
    main()
