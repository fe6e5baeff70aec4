"""Speed, memory and where the time goes when clips are evaluated. Prints one JSON object a line.

    python scripts/bench_evaluation.py speed --processes 1 2
    python scripts/bench_evaluation.py memory --height 64 --width 64 --fps 12 --seconds 3600
    python scripts/bench_evaluation.py memory --height 720 --width 1280 --fps 24 --seconds 60
    python scripts/bench_evaluation.py parts --height 720 --width 1280

`memory` feeds a clip of that length in portions of 8 frames, and reports the resident memory after
a tenth of it and at the end, and what of the difference is the curves, 4 bytes a number.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from videogen.evaluation import Evaluator
from videogen.evaluation.evaluator import ClipEvaluation
from videogen.evaluation.flow import dis_flow
from videogen.shapes import WORLDS, render, sample_scene

PORTION = 8


def footage(height: int, width: int, num_frames: int) -> Iterator[np.ndarray]:
    """Portions of a moving scene of any length; frames repeat after 64, as a loop."""
    scene = sample_scene(np.random.default_rng(4), WORLDS["wide"])
    loop = render(scene, 64, height, width)
    for start in range(0, num_frames, PORTION):
        places = np.arange(start, min(start + PORTION, num_frames)) % len(loop)
        yield loop[places]


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def memory(options: argparse.Namespace) -> None:
    """Feed one long clip and look at the process's memory on the way."""
    num_frames = round(options.seconds * options.fps)
    clip = Evaluator(size=options.size, feature=True).start(options.fps)
    fed, marks, started, busy = 0, {}, time.monotonic(), time.process_time()
    for portion in footage(options.height, options.width, num_frames):
        clip.add(portion)
        fed += len(portion)
        for share in (0.1, 0.5, 1.0):
            if fed >= share * num_frames and share not in marks:
                marks[share] = resident_mib()
    seconds, cpu_seconds = time.monotonic() - started, time.process_time() - busy
    columns = len(clip.timeline().columns)
    metrics = clip.finish()
    report(
        {
            "clip": f"{options.width}x{options.height}, {options.seconds:g} s at {options.fps:g}",
            "evaluated_at_px": options.size,
            "frames": num_frames,
            "frames_per_s": round(num_frames / seconds, 1),
            "frames_per_cpu_s": round(num_frames / cpu_seconds, 1),
            "resident_mib_at_10%": round(marks[0.1], 1),
            "resident_mib_at_50%": round(marks[0.5], 1),
            "resident_mib_at_end": round(marks[1.0], 1),
            "curves_mib_after_10%": round(0.9 * num_frames * columns * 4 / 2**20, 1),
            "resident_mib_after_finish": round(resident_mib(), 1),
            "metrics": len(metrics.results),
        }
    )


def speed(options: argparse.Namespace) -> None:
    """Frames a second of default metrics, by size and number of processes."""
    for height, width in ((64, 64), (256, 256), (720, 1280)):
        for processes in options.processes:
            with multiprocessing.get_context("spawn").Pool(processes) as pool:
                pool.map(rate, [(height, width, 8)] * processes)
                rates = pool.map(rate, [(height, width, options.frames)] * processes)
            report(
                {
                    "size": f"{width}x{height}",
                    "processes": processes,
                    "frames_per_s": round(sum(wall for wall, _ in rates), 1),
                    "frames_per_cpu_s": round(sum(cpu for _, cpu in rates) / processes, 1),
                }
            )


def rate(task: tuple[int, int, int]) -> tuple[float, float]:
    """Frames a second of one process with one thread, by the clock and by its own CPU time."""
    cv2.setNumThreads(1)
    height, width, num_frames = task
    frames = list(footage(height, width, num_frames))
    evaluator = Evaluator(feature=True)
    started, busy = time.perf_counter(), time.process_time()
    evaluator.evaluate(frames, 24)
    return num_frames / (time.perf_counter() - started), num_frames / (time.process_time() - busy)


def parts(options: argparse.Namespace) -> None:
    """CPU milliseconds a frame of every probe, of the flow inside them, and of the end."""
    cv2.setNumThreads(1)
    clip = Evaluator(feature=True).start(24)
    spent: dict[str, float] = defaultdict(float)
    frames = np.concatenate(list(footage(options.height, options.width, options.frames)))
    for frame in frames:
        step(clip, frame, spent)
    started = time.process_time()
    clip.finish()
    spent["finish"] = time.process_time() - started
    row = {name: round(1000 * value / len(frames), 3) for name, value in spent.items()}
    grey, moved = (
        cv2.cvtColor(cv2.resize(frame, (128, 128)), cv2.COLOR_RGB2GRAY) for frame in frames[:2]
    )
    started = time.process_time()
    for _ in range(50):
        dis_flow(grey, moved)
    row["one_flow_128x128"] = round(20 * (time.process_time() - started), 3)
    report({"size": f"{options.width}x{options.height}", "ms_per_frame": row})


def step(clip: ClipEvaluation, frame: np.ndarray, spent: dict[str, float]) -> None:
    """What `ClipEvaluation.add` does with one frame, on the clock."""
    window, table = clip._window, clip._signals
    clip._check(frame[None])
    window.push(frame)
    for probe in table._probes:
        started = time.process_time()
        row = probe.measure(window)
        spent[type(probe).__name__] += time.process_time() - started
        for name in probe.columns:
            table._columns[name].append(row.get(name, float("nan")))
    clip._num_frames += 1


def report(row: dict[str, Any]) -> None:
    print(json.dumps(row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("what", choices=("speed", "memory", "parts"))
    parser.add_argument("--height", type=int, default=64)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--fps", type=float, default=12)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--size", type=int, default=128, help="shorter side it is evaluated at")
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    {"speed": speed, "memory": memory, "parts": parts}[options.what](options)


if __name__ == "__main__":
    main()
