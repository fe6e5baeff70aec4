"""Packs and encodes thousands of small videos with the real program; watches speed and memory.

`python scripts/bench_data.py FOLDER --videos 5000` writes the videos once, packs them, kills the
program with -9 where it is told to, goes on, and proves that every video is in one shard. With
`--encode` it encodes the shards instead, killed after so many clips, and proves it of latents.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from processes import command_of, descendants

from videogen.media import write_video
from videogen_pipelines.data.shards import read_shard

SIDE, FRAMES = 32, 5


def write_videos(folder: Path, count: int) -> None:
    """Coarse noise with a square that moves; no two are alike."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        path = folder / f"{index // 1000:03d}" / f"video-{index:06d}.mp4"
        if path.with_suffix(".txt").exists():
            continue
        dice = np.random.default_rng(index)
        still = dice.integers(0, 255, (1, 4, 4, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
        frames = np.repeat(still, FRAMES, 0)
        top, colour = int(dice.integers(0, 20)), dice.integers(0, 255, 3)
        for time_, frame in enumerate(frames):
            frame[top : top + 12, 4 * time_ : 4 * time_ + 12] = colour
        write_video(path, frames, 12)
        path.with_suffix(".txt").write_text(f"video {index}")


class Memory:
    """Resident memory of the program and of its ranks, by how many videos were done."""

    def __init__(self, pid: int, count: Callable[[], int]) -> None:
        self._pid = pid
        self._count = count
        self.seen: list[tuple[int, float, float]] = []

    def look(self) -> int:
        done = self._count()
        ranks = [_rss_mib(pid) for pid in descendants(self._pid) if "ray::Rank" in command_of(pid)]
        self.seen.append((done, _rss_mib(self._pid), max(ranks, default=0.0)))
        return done


def pack(videos: Path, out: Path, options: argparse.Namespace, kill_at: int | None) -> Memory:
    """Pack to the end, or until the program is killed after so many videos."""
    command = ["data", "pack", str(videos), "--out", str(out), "--gangs", str(options.gangs)]
    command += ["--near", "0", "--accept", "motion.explained>=0"]
    command += ["--shard-clips", str(options.shard_clips)]
    return run(command, lambda: packed(out), kill_at)


def packed(out: Path) -> int:
    """Videos whose record is written."""
    return sum(1 for _ in out.glob("sources/*/*.json"))


def encode(shards: Path, out: Path, options: argparse.Namespace, kill_at: int | None) -> Memory:
    """Encode to the end, or until the program is killed after so many clips."""
    command = ["data", "encode", str(shards), "--out", str(out), "--gangs", str(options.gangs)]
    return run(command, lambda: encoded(out), kill_at)


def encoded(out: Path) -> int:
    """Clips of the shards whose record is written."""
    return sum(len(json.loads(path.read_text())["clips"]) for path in out.rglob("index/**/*.json"))


def run(arguments: list[str], count: Callable[[], int], kill_at: int | None) -> Memory:
    """Run the program to its end, or kill it and all it started when `count` reaches `kill_at`."""
    command = [sys.executable, "-m", "videogen_pipelines", *arguments]
    process = subprocess.Popen(command, start_new_session=True)
    memory = Memory(process.pid, count)
    while process.poll() is None:
        time.sleep(2)
        if memory.look() >= (kill_at or float("inf")):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return memory
    if process.returncode:
        sys.exit(f"the program ended with {process.returncode}")
    return memory


def prove(out: Path, count: int) -> dict[str, Any]:
    """Every video's caption stands in one shard, once, beside its latents if these are encoded."""
    seen = [
        json.loads(sample["json"])["caption"]
        for path in sorted(out.rglob("*.tar"))
        for _, sample in read_shard(path)
    ]
    expected = {f"video {index}" for index in range(count)}
    return {
        "clips": len(seen),
        "twice": len(seen) - len(set(seen)),
        "missing": len(expected - set(seen)),
    }


def _rss_mib(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--videos", type=int, default=5000)
    parser.add_argument("--encode", action="store_true", help="encode what is packed")
    parser.add_argument("--shard-clips", type=int, default=1000)
    parser.add_argument("--gangs", type=int, default=1)
    parser.add_argument("--kill-at", type=int, help="kill -9 after so many videos, then go on")
    parser.add_argument("--warm-up", type=int, default=50, help="videos before memory is told")
    parser.add_argument("--only-write", action="store_true")
    chosen = parser.parse_args()
    videos, out = chosen.folder / "videos", chosen.folder / "out"
    write_videos(videos, chosen.videos)
    if chosen.only_write:
        return
    step, count = (encode, encoded) if chosen.encode else (pack, packed)
    given, out = (out, chosen.folder / "latents") if chosen.encode else (videos, out)
    if chosen.kill_at:
        step(given, out, chosen, chosen.kill_at)
    before = count(out)
    started = time.monotonic()
    memory = step(given, out, chosen, None)
    elapsed_s = time.monotonic() - started
    steady = [seen for seen in memory.seen if seen[2] and seen[0] > before + chosen.warm_up]
    report = {
        **prove(out, chosen.videos),
        "done_now": chosen.videos - before,
        "elapsed_s": round(elapsed_s, 1),
        "videos_per_s": round((chosen.videos - before) / elapsed_s, 1),
        "rss_mib": [
            {"videos": done, "coordinator": round(program), "rank": round(rank)}
            for done, program, rank in steady[:: max(1, len(steady) // 8)]
        ],
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
