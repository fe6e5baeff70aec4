"""Clips per minute of `videogen generate` against a bare loop over `pipe(...)` and `save`.

    python scripts/bench_throughput.py prompts.txt --count 200 --set sampling.num_inference_steps=4

Both make the same clips of the same prompts, each in a process of its own, one after the other.
Rates are given with and without the time before the first clip.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

LOOP = """
import json, sys, time
import videogen
from pathlib import Path
fields, out = json.loads(sys.argv[2]), Path(sys.argv[3])
pipe = videogen.load(sys.argv[4])
for number, prompt in enumerate(Path(sys.argv[1]).read_text().splitlines()):
    pipe(prompt, **fields).save(out / f"{number}.mp4")
    print(time.time(), flush=True)
"""


def bare_loop(prompts: Path, overrides: list[str], model: str, out: Path) -> list[float]:
    """Seconds since the start at which each clip was done, in one process without Ray."""
    fields = dict(o.removeprefix("sampling.").split("=", 1) for o in overrides)
    out.mkdir()
    settings = json.dumps({key: json.loads(value) for key, value in fields.items()})
    started = time.time()
    command = [sys.executable, "-c", LOOP, str(prompts), settings, str(out), model]
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(line) - started for line in finished.stdout.split()]


def orchestrated(prompts: Path, overrides: list[str], model: str, out: Path) -> list[float]:
    """The same through `videogen generate`, read from the times of the sidecars."""
    sets = [part for override in overrides for part in ("--set", override)]
    command = [sys.executable, "-m", "videogen_pipelines", "generate", str(prompts)]
    started = time.time()
    subprocess.run(
        [*command, "--out", str(out), "--model", model, *sets], check=True, capture_output=True
    )
    return sorted(path.stat().st_mtime - started for path in (out / "meta").rglob("*.json"))


def summary(name: str, done: list[float]) -> dict[str, float | str]:
    steady = [b - a for a, b in pairwise(done)]
    return {
        "run": name,
        "clips": len(done),
        "first_clip_s": round(done[0], 2),
        "total_s": round(done[-1], 2),
        "clips_per_min": round(60 * len(done) / done[-1], 1),
        "clips_per_min_after_first": round(60 * len(steady) / sum(steady), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("prompts", type=Path, help="plain text, a prompt a line")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--model", default="default")
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lines = options.prompts.read_text(encoding="utf-8").splitlines()[: options.count]
        prompts = Path(folder) / "prompts.txt"
        prompts.write_text("\n".join(lines) + "\n", encoding="utf-8")
        rows = [
            summary(
                run.__name__, run(prompts, options.overrides, options.model, Path(folder) / name)
            )
            for name, run in (("loop", bare_loop), ("ray", orchestrated))
        ]
    for row in rows:
        print(json.dumps(row))
    loop, ray = rows
    for key in ("clips_per_min", "clips_per_min_after_first"):
        print(json.dumps({"ratio": key, "value": round(float(ray[key]) / float(loop[key]), 3)}))


if __name__ == "__main__":
    main()
