"""Published models against diffusers: the same weights, one process, paired runs in turns.

    python scripts/bench_models.py                                # this machine's CPU, one thread
    python scripts/bench_models.py --only wan-dit latte-dit --pairs 8
    python scripts/bench_models.py --device cuda                  # published sizes in bfloat16

On a CPU widths and heads are the published ones and layers are fewer, so that a pair takes seconds;
times are those of the thread's own CPU clock, which other work on the machine disturbs least. A
transformer is asked for one denoising step: both halves of guidance, as a pipeline does. The ratio
is diffusers' time by ours; its interval is Student's, over the logarithms of the pairs.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from videogen.models.accelerate import accelerate, can_pack
from videogen.models.image_vae.config import ImageVAEConfig
from videogen.models.image_vae.vae import ImageVAE
from videogen.models.latte.config import LatteConfig
from videogen.models.latte.transformer import LatteTransformer
from videogen.models.meta import on_meta
from videogen.models.packed import PackedLinear
from videogen.models.text import TextEmbedding
from videogen.models.wan.config import WanConfig
from videogen.models.wan.transformer import FLOAT32_PARTS, WanTransformer
from videogen.models.wan.vae import WanVAE
from videogen.models.wan.vae_config import WanVAEConfig

STUDENT = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 10: 2.26, 12: 2.20}
WORDS = 40
"""Tokens of the prompts; a negative prompt has them too."""
GROUPS = {
    "matmul": (
        "addmm",
        "mm",
        "bmm",
        "baddbmm",
        "baddbmm_",
        "linear",
        "_linear_pointwise",
        "_addmm",
    ),
    "convolution": ("convolution", "_convolution", "conv3d", "conv2d", "mkldnn_convolution"),
    "attention": ("attention",),
    "norm": ("norm", "layer_norm", "native_group_norm"),
    "activation": ("gelu", "silu", "softmax"),
    "copies": ("copy_", "cat", "contiguous", "clone", "index", "fill_", "stack"),
}
Run = Callable[[], Tensor]


@dataclass(frozen=True)
class Case:
    """Both implementations of one thing, ready to be called."""

    size: str
    ours: Run
    theirs: Run
    gflop: float


@dataclass(frozen=True)
class Outcome:
    """One line of the table."""

    name: str
    size: str
    ours_s: float
    theirs_s: float
    ratio: float
    low: float
    high: float
    difference: float
    floor_s: float
    floor_share: float
    groups: dict[str, float]


def reference(kind: str, **fields: Any) -> Any:
    """A module of diffusers, which only the benchmark needs."""
    return getattr(importlib.import_module("diffusers"), kind)(**fields)


def filled(theirs: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights of a size that neither vanishes nor grows."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in theirs.named_parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 0
        noise = torch.randn(parameter.shape, generator=generator)
        is_scale = "norm" in name and name.endswith(("weight", "gamma"))
        scale = 0.05 if is_scale or not fan_in else fan_in**-0.5
        parameter.data = (float(is_scale) + scale * noise).to(parameter.dtype)
    return theirs.eval().requires_grad_(False)


def adopted(ours: nn.Module, theirs: nn.Module, parts: tuple[str, ...] = ()) -> Any:
    """Our module, on the meta device so far, with the very weights of theirs."""
    state = {
        name: value.float() if set(name.split(".")) & set(parts) else value
        for name, value in theirs.state_dict().items()
    }
    ours.load_state_dict(state, assign=True)
    return ours.eval().requires_grad_(False)


def normal(*shape: int, seed: int, like: argparse.Namespace) -> Tensor:
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return noise.to(like.device, like.dtype)


def counted(run: Run) -> float:
    """GFLOP of matrix products, convolutions and attention."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / 1e9


def wan_dit(args: argparse.Namespace) -> Case:
    on_gpu = args.device == "cuda"
    t, h, w = (21, 60, 104) if on_gpu else (3, 30, 52)
    layers = args.layers or (30 if on_gpu else 3)
    fields: dict[str, Any] = {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": layers}
    theirs: Any = filled(reference("WanTransformer3DModel", **fields)).to(args.device, args.dtype)
    with on_meta():
        ours = WanTransformer(WanConfig(**fields))
    ours = accelerate(adopted(ours, theirs, FLOAT32_PARTS).to(args.device))
    x = normal(1, 16, t, h, w, seed=1, like=args)
    tokens = [normal(1, 512, 4096, seed=seed, like=args) for seed in (2, 3)]
    for prompt in tokens:
        prompt[:, WORDS:] = 0
    mask = (torch.arange(512) < WORDS)[None].to(args.device)
    texts = [TextEmbedding(prompt, mask, prompt[:, 0]) for prompt in tokens]
    step = torch.tensor([500.0], device=args.device)

    def run_theirs() -> Tensor:
        return torch.cat([theirs(x, step, prompt, return_dict=False)[0] for prompt in tokens])

    size = f"width 1536, {layers} layers, {t * h * w // 4} tokens, two halves"
    with torch.inference_mode():
        gflop = counted(run_theirs)
    return Case(size, lambda: torch.cat([ours(x, step, text) for text in texts]), run_theirs, gflop)


def latte_dit(args: argparse.Namespace) -> Case:
    on_gpu = args.device == "cuda"
    t, side = (16, 64) if on_gpu else (8, 32)
    layers = args.layers or (28 if on_gpu else 2)
    published = LatteConfig(num_layers=layers, video_length=t)
    fields: dict[str, Any] = {
        name: getattr(published, name) for name in LatteConfig.__dataclass_fields__
    }
    theirs: Any = filled(reference("LatteTransformer3DModel", **fields)).to(args.device, args.dtype)
    with on_meta():
        ours = LatteTransformer(published)
    ours = accelerate(adopted(ours, theirs).to(args.device))
    x = normal(1, 4, t, side, side, seed=1, like=args)
    tokens = [normal(1, WORDS, 4096, seed=seed, like=args) for seed in (2, 3)]
    mask = torch.ones(1, WORDS, device=args.device)
    texts = [TextEmbedding(prompt, mask.bool(), prompt[:, 0]) for prompt in tokens]
    step = torch.tensor([500.0], device=args.device)

    def run_theirs() -> Tensor:
        # As the pipeline does: both halves in one batch.
        both = theirs(
            torch.cat([x, x]),
            step.expand(2),
            encoder_hidden_states=torch.cat(tokens),
            enable_temporal_attentions=True,
            return_dict=False,
        )[0]
        return both[:, :4]

    size = f"width 1152, {layers} pairs of layers, {t} frames of {(side // 2) ** 2} tokens"
    with torch.inference_mode():
        gflop = counted(run_theirs)
    run = lambda: torch.cat([ours(x, step, text) for text in texts])  # noqa: E731
    return Case(f"{size}, two halves", run, run_theirs, gflop)


def wan_vae(args: argparse.Namespace) -> Case:
    t, h, w = (21, 60, 104) if args.device == "cuda" else (2, 8, 12)
    theirs: Any = filled(reference("AutoencoderKLWan")).to(args.device, args.dtype)
    with on_meta():
        ours = WanVAE(WanVAEConfig())
    ours = accelerate(adopted(ours, theirs))
    z = normal(1, 16, t, h, w, seed=1, like=args)

    def run_theirs() -> Tensor:
        return theirs.decode(z, return_dict=False)[0]

    with torch.inference_mode():
        gflop = counted(run_theirs)
    size = f"published, {4 * t - 3} frames of {8 * h}x{8 * w}"
    return Case(size, lambda: ours.decode(z), run_theirs, gflop)


def latte_vae(args: argparse.Namespace) -> Case:
    t, side = (16, 64) if args.device == "cuda" else (1, 24)
    published = ImageVAEConfig()
    fields: dict[str, Any] = {
        "down_block_types": published.down_block_types,
        "up_block_types": published.up_block_types,
        "block_out_channels": published.block_out_channels,
        "layers_per_block": 2,
    }
    theirs: Any = filled(reference("AutoencoderKL", **fields)).to(args.device, args.dtype)
    with on_meta():
        ours = ImageVAE(published)
    ours = accelerate(adopted(ours, theirs))
    z = normal(1, 4, t, side, side, seed=1, like=args)

    def run_theirs() -> Tensor:
        frames = [theirs.decode(z[:, :, i], return_dict=False)[0] for i in range(t)]
        return torch.stack(frames, dim=2)

    with torch.inference_mode():
        gflop = counted(run_theirs)
    size = f"published, {t} frames of {8 * side}x{8 * side}"
    return Case(size, lambda: ours.decode(z), run_theirs, gflop)


CASES = {"wan-dit": wan_dit, "wan-vae": wan_vae, "latte-dit": latte_dit, "latte-vae": latte_vae}


def clock(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time() / torch.get_num_threads()


def timed(run: Run, device: str) -> float:
    start = clock(device)
    run()
    return clock(device) - start


def matmul_rate(args: argparse.Namespace) -> float:
    """GFLOP/s of one large linear layer, the best of a few and, on CPUs, of both libraries."""
    n = 8192 if args.device == "cuda" else 1536
    x, layer = normal(n, n, seed=1, like=args), nn.Linear(n, n).requires_grad_(False)
    layers: list[nn.Module] = [layer.to(args.device, args.dtype)]
    if args.device == "cpu" and can_pack():
        layers.append(PackedLinear(layer))
    times = [timed(lambda one=one: one(x), args.device) for _ in range(4) for one in layers]
    return 2 * n**3 / 1e9 / min(times)


def grouped(run: Run, device: str) -> dict[str, float]:
    """Share of the time of each group of operators, by a profile of one run."""
    on_gpu = device == "cuda"
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=kinds) as seen:
        run()
    totals = dict.fromkeys([*GROUPS, "other"], 0.0)
    for event in seen.key_averages():
        spent = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        name = event.key.removeprefix("aten::").removeprefix("mkldnn::")
        found = (g for g, parts in GROUPS.items() if name in parts or g in name)
        totals[next(found, "other")] += spent
    whole = sum(totals.values())
    return {group: round(spent / whole, 3) for group, spent in totals.items()}


def measure(name: str, args: argparse.Namespace, rate: float) -> Outcome:
    case = CASES[name](args)
    with torch.inference_mode():
        mine, expected = case.ours(), case.theirs()  # warm, and the same
        scale = expected.float().abs().max()
        difference = float((mine.float() - expected.float()).abs().max() / scale)
        pairs = []
        for index in range(args.pairs):
            order = [case.ours, case.theirs] if index % 2 else [case.theirs, case.ours]
            spent = {run: timed(run, args.device) for run in order}
            pairs.append((spent[case.ours], spent[case.theirs]))
        groups = grouped(case.ours, args.device)
    logs = [math.log(theirs / ours) for ours, theirs in pairs]
    middle, student = statistics.mean(logs), STUDENT.get(len(logs), 2.26)
    spread = student * statistics.stdev(logs) / len(logs) ** 0.5
    ours_s = statistics.median(ours for ours, _ in pairs)
    floor_s = case.gflop / rate
    return Outcome(
        name=name,
        size=case.size,
        ours_s=ours_s,
        theirs_s=statistics.median(theirs for _, theirs in pairs),
        ratio=math.exp(middle),
        low=math.exp(middle - spread),
        high=math.exp(middle + spread),
        difference=difference,
        floor_s=floor_s,
        floor_share=floor_s / ours_s,
        groups=groups,
    )


def show(outcome: Outcome) -> None:
    o = outcome
    print(f"{o.name}: {o.size}")
    print(
        f"  ours {o.ours_s:.3f} s, diffusers {o.theirs_s:.3f} s, "
        f"ratio {o.ratio:.3f} (95 %: {o.low:.3f} to {o.high:.3f}), difference {o.difference:.1e}"
    )
    print(
        f"  all of diffusers' products at the rate of one matmul: {o.floor_s:.3f} s, "
        f"{o.floor_share:.0%} of our time"
    )
    print("  " + ", ".join(f"{group} {share:.0%}" for group, share in o.groups.items()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--pairs", type=int, default=5, help="2 or more")
    parser.add_argument("--layers", type=int, help="of transformers, instead of the sizes' own")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    args = parser.parse_args()
    args.dtype = torch.bfloat16 if args.device == "cuda" else torch.float32
    torch.set_num_threads(args.threads)
    os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))
    rate = matmul_rate(args)
    for name in args.only:
        outcome = measure(name, args, rate)
        if args.json:
            print(json.dumps(asdict(outcome)), flush=True)
        else:
            show(outcome)


if __name__ == "__main__":
    main()
