"""One forward of a DiT at several `seq` degrees: parity, bytes, time and memory of each rank.

    python scripts/bench_sharding.py --attention factorized --latents 17 48 48 --degrees 1 2 4

The weights are random. On CPUs all ranks share the cores, so their times say what sharding costs,
not what it gains. On GPUs there is one rank to each.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from videogen.models.config import DiTConfig
from videogen.models.cost import num_tokens
from videogen.models.dit import SpacetimeDiT
from videogen.models.presets import PRESETS
from videogen.models.text import TextEmbedding
from videogen.parallel.apply import parallelize
from videogen.parallel.mesh import Mesh, join, leave, open_store


@dataclass(frozen=True)
class Setting:
    """What is measured."""

    dit: DiTConfig
    latents: tuple[int, int, int]
    device: str
    dtype: str
    repeats: int


@dataclass(frozen=True)
class Measured:
    """One rank's forward."""

    seconds: float
    waited_s: float
    peak_mb: float
    sent: dict[str, float]
    result: np.ndarray | None


def serve(setting: Setting, rank: int, degree: int, address: Any, answers: Any) -> None:
    """One rank, as a process."""
    device = torch.device("cuda", rank) if setting.device == "cuda" else torch.device("cpu")
    torch.set_num_threads(1)
    meeting = open_store("127.0.0.1") if rank == 0 else address.get()
    if rank == 0:
        for _ in range(degree - 1):
            address.put(f"127.0.0.1:{meeting.port}")
    join(meeting, rank, degree, device)
    answers.put((rank, measure(setting, Mesh(1, degree), device)))
    leave()


def measure(setting: Setting, mesh: Mesh, device: torch.device) -> Measured:
    """Time the forward after one to warm up; its memory counts from before it."""
    dtype = getattr(torch, setting.dtype)
    torch.manual_seed(0)
    dit = SpacetimeDiT(setting.dit)
    for parameter in dit.parameters():
        torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    parallelize(dit.to(device, dtype).requires_grad_(False), mesh)
    x = torch.randn(1, setting.dit.in_channels, *setting.latents).to(device, dtype)
    tokens = torch.randn(1, 16, setting.dit.text_width).to(device, dtype)
    text = TextEmbedding(tokens, torch.ones(1, 16, device=device).bool(), tokens[:, 0])
    seconds, peak, sent = [], 0.0, {}
    result = torch.empty(0)
    for number in range(setting.repeats + 1):
        mesh.counters.reset()
        before = _reset_peak(device)
        started = time.perf_counter()
        with torch.inference_mode():
            result = dit(x, torch.tensor([500.0], device=device), text).float().cpu()
        seconds.append(time.perf_counter() - started)
        sent = mesh.counters.snapshot()
        peak = max(peak, _peak(device) - before) if number else peak
    return Measured(
        seconds=statistics.median(seconds[1:]),
        waited_s=sum(one["seconds"] for one in sent.values()),
        peak_mb=peak / 1e6,
        sent={name: one["bytes"] for name, one in sent.items()},
        result=result.numpy() if mesh.rank == 0 else None,
    )


def _reset_peak(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    Path("/proc/self/clear_refs").write_text("5")
    return _resident("VmRSS")


def _peak(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _resident("VmHWM")


def _resident(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def run(setting: Setting, degree: int) -> list[Measured]:
    """All ranks of one degree."""
    context = multiprocessing.get_context("spawn")
    address, answers = context.Queue(), context.Queue()
    ranks = [
        context.Process(target=serve, args=(setting, rank, degree, address, answers), daemon=True)
        for rank in range(degree)
    ]
    for process in ranks:
        process.start()
    measured = dict(answers.get(timeout=600) for _ in ranks)
    for process in ranks:
        process.join()
    return [measured[rank] for rank in range(degree)]


def summary(setting: Setting, degree: int, ranks: list[Measured], alone: Measured) -> dict:
    """One line of the table."""
    tokens = num_tokens(setting.dit, (setting.dit.in_channels, *setting.latents))
    m = tokens * setting.dit.width * getattr(torch, setting.dtype).itemsize
    unit = m / degree * (degree - 1) / degree * setting.dit.depth
    moved = {name: one for name, one in ranks[0].sent.items() if name != "seq.gather"}
    assert ranks[0].result is not None
    assert alone.result is not None
    return {
        "attention": setting.dit.attention,
        "seq": degree,
        "seconds": round(max(one.seconds for one in ranks), 4),
        "waited_s": round(max(one.waited_s for one in ranks), 4),
        "peak_mb": round(max(one.peak_mb for one in ranks), 1),
        "peak_x_n": round(max(one.peak_mb for one in ranks) * degree / alone.peak_mb, 3),
        "sent_mb": round(sum(moved.values()) / 1e6, 3),
        "per_block": f"{sum(moved.values()) / unit:.3f} M/N (N-1)/N" if degree > 1 else "0",
        "max_abs": float(np.abs(alone.result).max()),
        "max_abs_diff": float(np.abs(ranks[0].result - alone.result).max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--preset", default="default", choices=list(PRESETS))
    parser.add_argument("--attention", nargs="+", default=["factorized", "joint"])
    parser.add_argument("--latents", nargs=3, type=int, default=[16, 48, 48], metavar="N")
    parser.add_argument("--degrees", nargs="+", type=int, default=[2, 3, 4])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    for attention in args.attention:
        dit = replace(PRESETS[args.preset].dit, attention=attention)
        setting = Setting(dit, tuple(args.latents), args.device, args.dtype, args.repeats)
        print(json.dumps({"dit": asdict(dit), "latents": args.latents, "dtype": args.dtype}))
        alone = run(setting, 1)
        for degree in [1, *(degree for degree in args.degrees if degree > 1)]:
            ranks = alone if degree == 1 else run(setting, degree)
            print(json.dumps(summary(setting, degree, ranks, alone[0])), flush=True)


if __name__ == "__main__":
    main()
