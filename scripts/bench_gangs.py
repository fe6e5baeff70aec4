"""Clips per minute of two gangs against one, and against as many bare processes.

    python scripts/bench_gangs.py --count 24

Every process computes with one thread. One gang, two gangs and two processes that loop over
`pipe(...)` and `save` make clips of the same prompts; rates are taken while all are at work. It
fails if two gangs reach less than 1.6 times the rate of one, or less than 90 % of the loops.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MIN_SCALING = 1.6
MIN_SHARE_OF_LOOPS = 0.9
COLOURS = ("red", "green", "blue", "yellow")
SHAPES = ("circle", "square", "triangle", "star")
LOOP = """
import json, sys, time
import torch
torch.set_num_threads(1)
import videogen
from pathlib import Path
number, of, out = int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
pipe = videogen.load("default")
prompts = Path(sys.argv[1]).read_text().splitlines()
for index in range(number, len(prompts), of):
    pipe(prompts[index], **json.loads(sys.argv[5])).save(out / f"{index}.mp4")
    print(time.time(), flush=True)
"""


def write_prompts(path: Path, count: int) -> Path:
    """So many prompts that differ."""
    lines = [
        f"a {COLOURS[n % 4]} {SHAPES[n // 4 % 4]} moves right, number {n}" for n in range(count)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def loops(prompts: Path, num_processes: int, fields: dict[str, object], out: Path) -> list[float]:
    """When each clip was done, by `num_processes` that share the prompts and have no Ray."""
    out.mkdir()
    started = [
        subprocess.Popen(
            [
                *(sys.executable, "-c", LOOP),
                *map(str, (prompts, number, num_processes, out, json.dumps(fields))),
            ],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for number in range(num_processes)
    ]
    said = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit("a loop failed")
    return sorted(float(line) for text in said for line in text.split())


def gangs(prompts: Path, num_gangs: int, fields: dict[str, object], out: Path) -> list[float]:
    """When each clip was committed, by `num_gangs` of one rank with one core each."""
    settings = {f"sampling.{name}": value for name, value in fields.items()}
    settings |= {"cluster.gangs": num_gangs, "cluster.cpus_per_rank": 1.0}
    sets = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "videogen_pipelines", "generate", str(prompts)]
    subprocess.run([*command, "--out", str(out), *sets], check=True, capture_output=True)
    return sorted(path.stat().st_mtime for path in (out / "meta").rglob("*.json"))


def clips_per_minute(done: list[float], num_processes: int) -> float:
    """The rate between everybody's second clip and the first one who has nothing left to do."""
    steady = done[2 * num_processes - 1 : len(done) - num_processes + 1]
    return 60 * (len(steady) - 1) / (steady[-1] - steady[0])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=24, help="clips per process")
    parser.add_argument("--fields", type=json.loads, default={}, help="sampling fields, as JSON")
    options = parser.parse_args()
    rates = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for run, processes in ((gangs, 1), (loops, 2), (gangs, 2)):
            prompts = write_prompts(folder / "prompts.txt", options.count * processes)
            label = f"{processes} {run.__name__}"
            began = time.monotonic()
            done = run(prompts, processes, options.fields, folder / label.replace(" ", "-"))
            rates[label] = clips_per_minute(done, processes)
            took = time.monotonic() - began
            print(f"{label}: {rates[label]:.1f} clips/min, {len(done)} clips in {took:.0f} s")
    scaling = rates["2 gangs"] / rates["1 gangs"]
    share = rates["2 gangs"] / rates["2 loops"]
    print(f"two gangs against one: {scaling:.2f} (at least {MIN_SCALING})")
    print(f"two gangs against two loops: {share:.2f} (at least {MIN_SHARE_OF_LOOPS})")
    if scaling < MIN_SCALING or share < MIN_SHARE_OF_LOOPS:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
