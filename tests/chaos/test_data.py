"""`kill -9` of `videogen data pack`: every video is packed once, or dropped by name."""

from __future__ import annotations

import gzip
import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from videogen.media import write_video
from videogen_pipelines.data.shards import read_shard

pytestmark = [pytest.mark.chaos, pytest.mark.cluster]

NUM_VIDEOS = 48


def write_videos(folder: Path) -> None:
    """Noise of its own behind a square that moves; the last two are no videos."""
    for index in range(NUM_VIDEOS):
        dice = np.random.default_rng(index)
        frames = np.repeat(dice.integers(0, 255, (1, 6, 6, 3), dtype=np.uint8), 9, 0)
        frames = frames.repeat(8, 1).repeat(8, 2)
        for time, frame in enumerate(frames):
            frame[16:32, 3 * time : 3 * time + 16] = 255
        write_video(folder / f"v{index:02d}.mp4", frames, 12)
        (folder / f"v{index:02d}.txt").write_text(f"video {index}")
    for path in sorted(folder.glob("*.mp4"))[-2:]:
        path.write_bytes(path.read_bytes()[:-100])


def test_a_killed_pack_loses_nothing_and_packs_nothing_twice(
    start_program: Callable[..., Any], tmp_path: Path
):
    videos, out = tmp_path / "videos", tmp_path / "out"
    write_videos(videos)
    command = ("data", "pack", videos, "--out", out, "--gangs", 1, "--shard-clips", 10, "--json")

    def looked_at() -> int:
        return len(list(out.glob("sources/*/*.json")))

    program = start_program(*command)
    program.wait_until(lambda: looked_at() >= 5)
    os.killpg(program.process.pid, signal.SIGKILL)
    program.process.wait()
    before = {path: path.stat().st_mtime_ns for path in out.glob("sources/*/*.json")}
    assert 5 <= len(before) < NUM_VIDEOS, "all was done before it could be killed"

    ended = start_program(*command).wait()
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    assert (report["state"], report["videos"], report["clips"]) == ("complete", NUM_VIDEOS, 46)
    assert {path: path.stat().st_mtime_ns for path in before} == before, "looked at again"
    captions = Counter(
        sample["txt"].decode() for path in out.rglob("*.tar") for _, sample in read_shard(path)
    )
    assert captions == {f"video {index}": 1 for index in range(NUM_VIDEOS - 2)}
    lines = gzip.decompress((out / "dropped.jsonl.gz").read_bytes()).decode().splitlines()
    dropped = {entry["file"]: entry["reason"] for entry in map(json.loads, lines)}
    assert set(dropped) == {"v46.mp4", "v47.mp4"}
    assert all("is damaged: it is cut short" in reason for reason in dropped.values()), dropped
