"""What the metrics are worth: clean clips, spoiled in graded ways, and every metric judged on them.

    python scripts/validate_metrics.py --rendered 32 --generated 32 --out out/validation

Prints the table of docs/evaluation.md in Markdown. With `--out`, finished clips are kept there, and
a second run goes on where the first stopped.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2

import videogen
from videogen.evaluation import Evaluator
from videogen.evaluation.validation.clips import CleanClip, moves, rendered_clips
from videogen.evaluation.validation.report import Row, measure, summarise
from videogen.evaluation.validation.table import markdown
from videogen.shapes import canonical_caption
from videogen.training.clips import numbered_scene

PROMPT_SEED = 20_000_003


def generated_clips(count: int) -> Iterator[CleanClip]:
    """Clips of the default model, of prompts in which something moves."""
    pipe = videogen.load()
    index = 0
    while count:
        scene = numbered_scene(PROMPT_SEED, index, ("narrow",), "all")
        index += 1
        if moves(scene) and len(scene.objects) == 1:
            prompt = canonical_caption(scene)
            clip = pipe(prompt, seed=index)
            yield CleanClip(f"generated-{index:03d}-{prompt}", clip.to_array(), clip.request.fps)
            count -= 1


def measure_clip(task: tuple[int, CleanClip, Path | None]) -> list[Row]:
    """All rows of a clip, from the file of an earlier run where there is one."""
    index, clip, folder = task
    cv2.setNumThreads(1)
    path = folder / f"{clip.name.replace(' ', '_')}.json" if folder else None
    if path and path.exists():
        return [Row(*row) for row in json.loads(path.read_text(encoding="utf-8"))]
    rows = measure(clip, Evaluator(), seed=index)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        flat = [[row.clip, row.corruption, row.grade, dict(row.values)] for row in rows]
        path.write_text(json.dumps(flat), encoding="utf-8")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--rendered", type=int, default=32)
    parser.add_argument("--generated", type=int, default=32)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    clips = [*rendered_clips(options.rendered), *generated_clips(options.generated)]
    tasks = [(index, clip, options.out) for index, clip in enumerate(clips)]
    started = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        rows = [row for part in pool.imap_unordered(measure_clip, tasks) for row in part]
    print(markdown(summarise(rows)))
    print(f"{len(rows)} clips in {time.monotonic() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
