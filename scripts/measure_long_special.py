"""What long clips can do beside being long, measured. Prints one JSON object a line.

    python scripts/measure_long_special.py prompts --count 14
    python scripts/measure_long_special.py loop --count 14
    python scripts/measure_long_special.py start --count 14

`prompts` changes the colour half-way and reads when it shows; `loop` looks at the seam from the
last frame back to the first; `start` goes on from rendered frames, one or many.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
import torch
from judge_model import prompt_of
from long_clips import seam, speed
from measure_long import scenes_of_each_motion

import videogen
from videogen.generator import VideoGenerator
from videogen.shapes.judge import agrees, judge
from videogen.shapes.motion import DIRECTIONS
from videogen.shapes.render import render
from videogen.shapes.vocabulary import WORLDS

NARROW = WORLDS["narrow"]
HALF_S = 6
"""Frames of half a second at 12 frames per second."""


def prompts(pipe: VideoGenerator, options: argparse.Namespace) -> None:
    """Share of clips in the colour of the first and the second prompt, around the change."""
    at_s, told = 6.0, []
    for index, scene in enumerate(scenes_of_each_motion(options.count)):
        first = prompt_of(scene, index, free=False)
        colour = scene.objects[0].colour
        other = NARROW.colours[(NARROW.colours.index(colour) + 3) % len(NARROW.colours)]
        second = first.replace(colour, other, 1)
        frames = pipe(
            first,
            seed=index,
            num_frames=145,
            prompts=[{"at_s": 0, "prompt": first}, {"at_s": at_s, "prompt": second}],
        ).to_array()
        change = round(at_s * 12)
        at = {
            offset: judge(frames[change + offset : change + offset + HALF_S], NARROW).colour
            for offset in range(-24, 31, HALF_S)
        }
        steps = seam(frames[change - 12 : change + 12], [])["away"]
        quiet = seam(frames[12 : change - 12], [])["away"]
        told.append((at, colour, other, steps, quiet))
    for offset in told[0][0]:
        report(
            {
                "from_s": offset / 12,
                "first": mean(at[offset] == colour for at, colour, *_ in told),
                "second": mean(at[offset] == other for at, _, other, *_ in told),
            }
        )
    report({"change_over_before": ratio([t[3] for t in told], [t[4] for t in told])})


def loop(pipe: VideoGenerator, options: argparse.Namespace) -> None:
    """Second difference of frames where the clip starts over, against inside."""
    rows = []
    for index, scene in enumerate(scenes_of_each_motion(options.count)):
        prompt = prompt_of(scene, index, free=False)
        for is_loop in (True, False):
            frames = pipe(prompt, seed=index, num_frames=120, loop=is_loop).to_array()
            jump = np.abs(frames[0].astype(float) - frames[-1]).mean()
            inside = np.abs(np.diff(frames.astype(float), axis=0)).mean()
            read = seam(np.concatenate([frames, frames]), [len(frames)])
            last = agrees(judge(frames[-12:], NARROW), scene)
            rows.append((is_loop, jump, inside, read["at"], read["away"], last))
    for is_loop in (True, False):
        _, jump, inside, at, away, last = zip(*(r for r in rows if r[0] is is_loop), strict=True)
        report(
            {
                "loop": is_loop,
                "jump_over_step": ratio(jump, inside),
                "seam_ratio": ratio(at, away),
                "last_as_prompt": mean(v["colour"] and v["shape"] for v in last),
            }
        )


def start(pipe: VideoGenerator, options: argparse.Namespace) -> None:
    """Whether a clip goes on as the frames it starts with, told what they show or nothing."""
    for num_given in (1, 13):
        for says in (True, False):
            rows = []
            for index, scene in enumerate(scenes_of_each_motion(options.count)):
                given = render(scene, num_given, 64, 64)
                prompt = prompt_of(scene, index, free=False) if says else ""
                request = pipe.resolve(prompt=prompt, seed=index, num_frames=61, video="given")
                cache: dict[str, torch.Tensor] = {}
                chunks = pipe.stream(request, start=given)
                parts = [f for chunk in chunks for f in pipe.decode_chunk(chunk, cache)]
                rows.append(go_on(np.concatenate(parts), given, scene))
            report({"given": num_given, "told": says, **means(rows)})


def go_on(frames: np.ndarray, given: np.ndarray, scene: Any) -> dict[str, float]:
    verdict = agrees(judge(frames[-17:], NARROW), scene)
    error = ((frames[: len(given)].astype(float) - given) ** 2).mean()
    row = {
        "colour": float(verdict["colour"]),
        "shape": float(verdict["shape"]),
        "background": float(verdict["background"]),
        "start_psnr_db": float(10 * np.log10(255**2 / error)),
    }
    motion = scene.objects[0].motion
    if motion in DIRECTIONS:
        dx, dy = DIRECTIONS[motion]
        after = speed(frames[len(given) : len(given) + 17])
        row["speed_after_over_before"] = (dx * after["vx"] + dy * after["vy"]) / (
            scene.objects[0].speed
        )
    read = seam(frames, [len(given)])
    return row | {"seam_at": read["at"], "seam_away": read["away"]}


def means(rows: list[dict[str, float]]) -> dict[str, float]:
    names = {name for row in rows for name in row} - {"seam_at", "seam_away"}
    found = {name: mean(row[name] for row in rows if name in row) for name in sorted(names)}
    at, away = ([row[name] for row in rows] for name in ("seam_at", "seam_away"))
    return found | {"seam_ratio": ratio(at, away)}


def mean(values: Any) -> float:
    return round(float(np.mean(list(values))), 3)


def ratio(at: Any, away: Any) -> float:
    return round(float(np.sum(at) / np.sum(away)), 3)


def report(row: dict[str, Any]) -> None:
    print(json.dumps(row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = {"prompts": prompts, "loop": loop, "start": start}
    parser.add_argument("command", choices=commands)
    parser.add_argument("--model", default="default")
    parser.add_argument("--count", type=int, default=14)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    commands[options.command](videogen.load(options.model, device="cpu"), options)


if __name__ == "__main__":
    main()
