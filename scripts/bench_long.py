"""Memory and time of long clips against short ones, as `videogen generate` makes them.

    python scripts/bench_long.py --folder /tmp/long --rows 10 --frames 61 1201

Makes `--rows` clips of each length, one gang on one core, and measures

- memory: the most resident memory that the rank ever had (VmHWM of its process);
- time: seconds of CPU that the rank spent per frame, from the end of its first clip to that of its
  last one, which other work on the machine disturbs least; and beside it the seconds of denoising,
  decoding and encoding per frame by the clock, from the clips' sidecars.

It may be killed and started again: clips go on where they were, and what was measured is kept in
the folder. `--limit-s` ends it by itself after so long. Ends with 1 if the longest clips take more
than 1.15 times the memory, or 1.1 times the time per frame, of the shortest.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from processes import command_of, descendants

MAX_MEMORY, MAX_TIME = 1.15, 1.1
MIB = 2**20
_POLL_S = 0.05


@dataclass
class Measured:
    """What clips of one length took so far; `cpu_s` is of `cpu_frames` of them."""

    num_frames: int
    rows: int
    peak_bytes: int = 0
    cpu_s: float = 0.0
    cpu_frames: int = 0
    is_complete: bool = False
    denoise_s: float = 0.0
    decode_s: float = 0.0
    encode_s: float = 0.0
    frames_timed: float = 0.0
    """Those whose seconds are in the sidecars: not what a killed run made of a clip."""

    @property
    def cpu_s_per_frame(self) -> float:
        return self.cpu_s / self.cpu_frames if self.cpu_frames else float("nan")


def main() -> int:
    """Measure, report, and say whether the limits hold."""
    options = _options()
    deadline = time.monotonic() + options.limit_s
    options.folder.mkdir(parents=True, exist_ok=True)
    found = []
    rows = options.rows if len(options.rows) > 1 else options.rows * len(options.frames)
    for num_frames, num_rows in zip(options.frames, rows, strict=True):
        measured = measure(options, num_frames, num_rows, deadline)
        found.append(measured)
        if not measured.is_complete:
            print(f"stopped after {options.limit_s:g} s; the same command goes on")
            return 1
    return report(found)


def measure(options: argparse.Namespace, num_frames: int, rows: int, deadline: float) -> Measured:
    """Make the clips of one length, or what is left of them."""
    notes = options.folder / f"frames-{num_frames}.json"
    measured = Measured(num_frames, rows)
    if notes.exists():
        measured = Measured(**json.loads(notes.read_text()))
    if not measured.is_complete:
        _run(options, measured, deadline, notes)
    return measured


def report(found: list[Measured]) -> int:
    """Print a table; 1 if a limit is exceeded."""
    print("frames  clips  peak MiB  CPU s/frame  by the clock: denoise   decode   encode")
    for each in found:
        parts = (each.denoise_s, each.decode_s, each.encode_s)
        shares = "".join(f"{seconds / each.frames_timed:9.4f}" for seconds in parts)
        print(
            f"{each.num_frames:6d} {each.rows:6d} {each.peak_bytes / MIB:9.0f}"
            f" {each.cpu_s_per_frame:12.4f}              {shares}"
        )
    first, last = found[0], found[-1]
    ratios = {
        "memory": (last.peak_bytes / first.peak_bytes, MAX_MEMORY),
        "time": (last.cpu_s_per_frame / first.cpu_s_per_frame, MAX_TIME),
    }
    for name, (ratio, limit) in ratios.items():
        print(f"{name}: {ratio:.3f} times that of {first.num_frames} frames, at most {limit}")
    return int(any(ratio > limit for ratio, limit in ratios.values()))


def _run(options: argparse.Namespace, measured: Measured, deadline: float, notes: Path) -> None:
    out = options.folder / f"out-{measured.num_frames}"
    started_before = set(out.glob("meta/*/*.json"))
    program = subprocess.Popen(_command(options, measured, out), start_new_session=True)
    ends: dict[int, float] = {}  # clips made -> seconds of CPU by then
    while program.poll() is None:
        for rank in _ranks_below(program.pid):
            measured.peak_bytes = max(measured.peak_bytes, _peak_bytes(rank))
            ends.setdefault(len(set(out.glob("meta/*/*.json"))), _cpu_s(rank))
        if time.monotonic() > deadline:
            os.killpg(program.pid, signal.SIGTERM)
            deadline = float("inf")  # it ends by itself now
        time.sleep(_POLL_S)
    whole = sorted(made for made in ends if made > len(started_before))
    if len(whole) > 1:  # of a process, what was spent before its first clip ended is not counted
        measured.cpu_s += ends[whole[-1]] - ends[whole[0]]
        measured.cpu_frames += (whole[-1] - whole[0]) * measured.num_frames
    sidecars = set(out.glob("meta/*/*.json"))
    for path in sidecars - started_before:
        sidecar = json.loads(path.read_text())
        timings, chunks = sidecar["timings"], sidecar["chunks"] or {"count": 1, "resumed": 0}
        measured.frames_timed += sidecar["frames"] * (1 - chunks["resumed"] / chunks["count"])
        measured.denoise_s += timings["denoise_s"]
        measured.decode_s += timings["decode_s"]
        measured.encode_s += timings["encode_s"]
    measured.is_complete = len(sidecars) == measured.rows
    notes.write_text(json.dumps(asdict(measured)))


def _command(options: argparse.Namespace, measured: Measured, out: Path) -> list[str]:
    manifest = options.folder / f"rows-{measured.num_frames}.jsonl"
    row = {"prompt": "a red circle moves right", "num_frames": measured.num_frames}
    rows = [json.dumps({"id": f"clip-{n}", "seed": n, **row}) for n in range(measured.rows)]
    manifest.write_text("\n".join(rows) + "\n")
    command = [sys.executable, "-m", "videogen_pipelines", "generate", str(manifest)]
    settings = ["cluster.cpus_per_rank=1", "output.contact_sheet=false", *options.set]
    overrides = [part for setting in settings for part in ("--set", setting)]
    return [*command, "--out", str(out), "--gangs", "1", "--model", options.model, *overrides]


def _ranks_below(root: int) -> list[int]:
    """Processes of ranks that `root` or what it started has started."""
    return [pid for pid in descendants(root) if command_of(pid).startswith("ray::Rank")]


def _peak_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    peak = next((line for line in lines if line.startswith("VmHWM:")), "VmHWM: 0 kB")
    return int(peak.split()[1]) * 1024


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rows", type=int, nargs="+", default=[10], help="of each length")
    parser.add_argument("--frames", type=int, nargs="+", default=[61, 1201])
    parser.add_argument("--model", default="default")
    parser.add_argument("--set", action="append", default=[], help="a value of the configuration")
    parser.add_argument("--limit-s", type=float, default=float("inf"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
