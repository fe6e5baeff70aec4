"""The program `evaluate --validate`: clean clips, spoiled in graded ways, and every metric judged.

Each clip's rows are kept in the output as soon as they are there, so that a killed run goes on.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterable, Iterator
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
_Task = tuple[int, CleanClip | None, Path]


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
    tasks = _tasks(folder, num_clips - generated, generated)
    rows: list[Row] = []
    with multiprocessing.get_context("spawn").Pool(processes or os.cpu_count()) as pool:
        for done, part in enumerate(pool.imap_unordered(_measure, tasks), start=1):
            rows += part
            console.print(f"{done} of {len(tasks)} clips", highlight=False)
    found = summarise(rows)
    (out / "table.md").write_text(markdown(found) + "\n", encoding="utf-8")
    return found


def _tasks(folder: Path, num_rendered: int, num_generated: int) -> list[_Task]:
    """What is to be measured, each with the file for its rows; without frames where it is there."""
    tasks: list[_Task] = []
    for clip in rendered_clips(num_rendered):
        path = _path_of(folder, clip.name)
        tasks.append((len(tasks), None if path.exists() else clip, path))
    names = list(generated_names(num_generated))
    missing = [name for name in names if not _path_of(folder, name[0]).exists()]
    made = {clip.name: clip for clip in generated_clips(missing)}
    for name, *_ in names:
        tasks.append((len(tasks), made.get(name), _path_of(folder, name)))
    return tasks


def generated_names(count: int) -> Iterator[tuple[str, str, int]]:
    """Name, prompt and seed of clips to generate, of prompts in which something moves."""
    index = 0
    while count:
        scene = numbered_scene(PROMPT_SEED, index, ("narrow",), "all")
        index += 1
        if moves(scene) and len(scene.objects) == 1:
            prompt = canonical_caption(scene)
            yield f"generated-{index:03d}-{prompt}", prompt, index
            count -= 1


def generated_clips(names: Iterable[tuple[str, str, int]]) -> Iterator[CleanClip]:
    """Those clips, made by the default model."""
    import videogen

    pipe = None
    for name, prompt, seed in names:
        pipe = pipe or videogen.load()
        clip = pipe(prompt, seed=seed)
        yield CleanClip(name, clip.to_array(), clip.request.fps)


def _path_of(folder: Path, name: str) -> Path:
    return folder / f"{name.replace(' ', '_')}.json"


def _measure(task: _Task) -> list[Row]:
    """All rows of a clip, from the file of an earlier run where there is one."""
    import cv2

    cv2.setNumThreads(1)
    index, clip, path = task
    if clip is None:
        return [Row(*row) for row in json.loads(path.read_text(encoding="utf-8"))]
    rows = measure(clip, Evaluator(), seed=index)
    flat = [[row.clip, row.corruption, row.grade, dict(row.values)] for row in rows]
    part = path.with_suffix(".part")
    part.write_text(json.dumps(flat), encoding="utf-8")
    part.rename(path)
    return rows
