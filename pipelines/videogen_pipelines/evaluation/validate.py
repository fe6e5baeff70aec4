"""The program `evaluate --validate`: clean clips, spoiled in graded ways, and every metric judged.

Each clip's rows are kept in the output as soon as they are there, so that a killed run goes on.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from videogen.evaluation import Evaluator
from videogen.evaluation.validation import (
    CleanClip,
    Row,
    Validation,
    markdown,
    measure,
    rendered_clips,
    summarise,
)
from videogen.evaluation.validation.clips import moves
from videogen.shapes import canonical_caption
from videogen.training.clips import numbered_scene

PROMPT_SEED = 20_000_003
_Task = tuple[int, CleanClip, Path]


def validate(
    out: Path, num_clips: int, processes: int | None = None, console: Console | None = None
) -> Validation:
    """Judge every metric on clips of which half are rendered and half the default model's.

    Writes `clips/*.json`, the numbers of every clip and of all its corruptions, and `table.md`.

    Args:
        processes: that measure side by side; None is one for each core.
    """
    console = console or Console(stderr=True)
    folder = out / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    generated = num_clips // 2
    clips = [*rendered_clips(num_clips - generated), *generated_clips(generated)]
    tasks: list[_Task] = [(index, clip, folder) for index, clip in enumerate(clips)]
    rows: list[Row] = []
    with multiprocessing.get_context("spawn").Pool(processes or os.cpu_count()) as pool:
        for done, part in enumerate(pool.imap_unordered(_measure, tasks), start=1):
            rows += part
            console.print(f"{done} of {len(tasks)} clips", highlight=False)
    found = summarise(rows)
    (out / "table.md").write_text(markdown(found) + "\n", encoding="utf-8")
    return found


def generated_clips(count: int) -> Iterator[CleanClip]:
    """Clips of the default model, of prompts in which something moves."""
    import videogen

    pipe = videogen.load() if count else None
    index = 0
    while count and pipe is not None:
        scene = numbered_scene(PROMPT_SEED, index, ("narrow",), "all")
        index += 1
        if moves(scene) and len(scene.objects) == 1:
            prompt = canonical_caption(scene)
            clip = pipe(prompt, seed=index)
            yield CleanClip(f"generated-{index:03d}-{prompt}", clip.to_array(), clip.request.fps)
            count -= 1


def _measure(task: _Task) -> list[Row]:
    """All rows of a clip, from the file of an earlier run where there is one."""
    import cv2

    cv2.setNumThreads(1)
    index, clip, folder = task
    path = folder / f"{clip.name.replace(' ', '_')}.json"
    if path.exists():
        return [Row(*row) for row in json.loads(path.read_text(encoding="utf-8"))]
    rows = measure(clip, Evaluator(), seed=index)
    flat = [[row.clip, row.corruption, row.grade, dict(row.values)] for row in rows]
    part = path.with_suffix(".part")
    part.write_text(json.dumps(flat), encoding="utf-8")
    part.rename(path)
    return rows
