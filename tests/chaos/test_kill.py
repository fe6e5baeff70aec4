"""`kill -9` of the whole program, again and again: every row still ends as exactly one clip."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from videogen.media import read_video

pytestmark = [pytest.mark.chaos, pytest.mark.cluster]


def committed(out: Path) -> set[str]:
    return {path.stem for path in out.glob("meta/*/*.json")}


@pytest.mark.timeout(1200)
def test_kills_lose_nothing_and_make_nothing_twice(
    start_program: Callable[..., Any], tiny_model: Path, tmp_path: Path, thorough: bool
):
    num_kills, num_rows = (10, 60) if thorough else (4, 24)
    dice = random.Random(0)
    rows = [
        {"id": f"clip-{index:02d}", "prompt": "a red circle", "num_inference_steps": 25}
        for index in range(num_rows)
    ]
    manifest = tmp_path / "rows.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out"
    command = ("generate", manifest, "--out", out, "--model", tiny_model)

    first_digests: dict[str, str] = {}
    for number in range(num_kills):
        program = start_program(*command)
        if number % 3 == 2:
            time.sleep(dice.uniform(0.0, 6.0))  # wherever it stands: starting, most likely
        else:
            target = len(committed(out)) + dice.randint(1, 4)
            program.wait_until(lambda target=target: len(committed(out)) >= target)
            time.sleep(dice.uniform(0.0, 0.3))
        if number % 2:
            program.kill()
        else:
            os.killpg(program.process.pid, signal.SIGKILL)
            program.process.wait()
        digests = {path.stem: _sha256(path) for path in out.glob("clips/*/*.mp4")}
        assert first_digests.items() <= digests.items(), "a committed clip changed or went away"
        first_digests |= {name: digests[name] for name in committed(out) & set(digests)}

    ended = start_program(*command, "--json").wait()
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    assert (report["state"], report["done"], report["failed"]) == ("complete", num_rows, 0)
    expect_exactly_one_clip_per_row(out, [row["id"] for row in rows])
    assert (
        first_digests.items()
        <= {path.stem: _sha256(path) for path in out.glob("clips/*/*.mp4")}.items()
    )


def expect_exactly_one_clip_per_row(out: Path, names: list[str]) -> None:
    clips = {path.stem: path for path in out.glob("clips/*/*.mp4")}
    assert sorted(clips) == sorted(committed(out)) == sorted(names)
    for path in out.glob("meta/*/*.json"):
        sidecar = json.loads(path.read_text())
        clip = out / sidecar["key"]
        assert sidecar["sha256"] == _sha256(clip)
        assert len(read_video(clip)[0]) == sidecar["frames"]
    leftovers = [path for path in out.rglob("*") if path.name.startswith(".tmp-")]
    assert not (out / ".scratch").exists()
    assert all(time.time() - path.stat().st_mtime < 3600 for path in leftovers)
    table = pq.read_table(out / "results/part-00000.parquet")
    assert table["id"].to_pylist() == names
    assert set(table["state"].to_pylist()) == {"done"}
    assert (out / "_SUCCESS").exists()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
