"""Clips a minute through the whole program, against a bare loop over the same model.

Run with `make bench PYTEST_ARGS="-k throughput"` on a machine that does nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.benchmark, pytest.mark.cluster]

NUM_CLIPS = int(os.environ.get("VIDEOGEN_BENCH_CLIPS", "40"))
MODEL = os.environ.get("VIDEOGEN_BENCH_MODEL", "default")
LEAST_SHARE = 0.9
FIRST_CLIP_S = 40.0
BARE_LOOP = """
import sys, time
import videogen
pipe = videogen.load(sys.argv[1])
for index in range(int(sys.argv[2])):
    pipe("a red circle moving right", seed=index).save(f"{sys.argv[3]}/{index}.mp4")
    print(time.time(), flush=True)
"""


def clips_per_minute(ends_s: list[float]) -> float:
    """Speed between the first clip and the last, so that starting is left out."""
    return 60 * (len(ends_s) - 1) / (max(ends_s) - min(ends_s))


@pytest.mark.timeout(3600)
def test_the_program_is_nearly_as_fast_as_a_bare_loop(
    start_program: Callable[..., Any], tmp_path: Path
):
    bare = subprocess.run(
        [sys.executable, "-c", BARE_LOOP, MODEL, str(NUM_CLIPS), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    bare_speed = clips_per_minute([float(line) for line in bare.stdout.split()])

    manifest = tmp_path / "rows.jsonl"
    rows = [{"prompt": "a red circle moving right", "seed": i} for i in range(NUM_CLIPS)]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    started = time.time()
    ended = start_program("generate", manifest, "--out", "out", "--model", MODEL).wait(3000)
    assert ended.code == 0, ended.err
    ends = [path.stat().st_mtime for path in tmp_path.glob("out/meta/*/*.json")]
    speed = clips_per_minute(ends)

    first_s = min(ends) - started
    sys.stdout.write(
        f"\nbare loop {bare_speed:.1f} clips/min, videogen generate {speed:.1f} clips/min "
        f"({speed / bare_speed:.0%}), first clip after {first_s:.1f} s\n"
    )
    assert speed >= LEAST_SHARE * bare_speed
    assert first_s <= FIRST_CLIP_S
