"""How long clips hold up: identity, motion, seams and drift over time, by the judge and the pixels.

    python scripts/measure_long.py run --out runs/long/overlap --count 48 --num-frames 601
    python scripts/measure_long.py run --out runs/long/windows --set extension=windows
    python scripts/measure_long.py report runs/long/overlap runs/long/windows
    python scripts/measure_long.py pictures runs/long/overlap --to docs/images

`run` makes clips of combinations that training never showed, a JSON file each; started again it
goes on where it stopped (`--limit-s`). `report` prints a JSON object a folder and the curves as
Markdown. `pictures` draws contact sheets and x-t slices of clips kept by `run --keep N`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from judge_model import prompt_of
from long_clips import read_over_time, summarise
from long_pictures import contact_sheet, cut_through_time

import videogen
from videogen.generator import VideoGenerator
from videogen.models.dit import SpacetimeDiT
from videogen.models.weights import Model
from videogen.requests import ClipRequest
from videogen.shapes.scene import Scene
from videogen.shapes.vocabulary import WORLDS
from videogen.training.clips import numbered_scene

PROMPT_SEED = 20_000_003
MOTIONS = WORLDS["narrow"].motions


def scenes_of_each_motion(count: int) -> list[Scene]:
    """Scenes that training never showed, the motions in turns."""
    per_motion: dict[str, list[Scene]] = {motion: [] for motion in MOTIONS}
    wanted = -(-count // len(MOTIONS))
    index = 0
    while any(len(scenes) < wanted for scenes in per_motion.values()):
        scene = numbered_scene(PROMPT_SEED, index, ("narrow",), "held_out")
        per_motion[scene.objects[0].motion].append(scene)
        index += 1
    turns = (per_motion[motion][turn] for turn in range(wanted) for motion in MOTIONS)
    return list(islice(turns, count))


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    pipe = videogen.load(options.model, device=options.device)
    if options.causal:
        look_only_back(pipe)
    options.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    for index, scene in enumerate(scenes_of_each_motion(options.count)):
        path = options.out / f"{index:03}.json"
        if index < options.first or path.exists():
            continue
        if time.monotonic() - started > options.limit_s:
            return
        path.write_text(json.dumps(measure(pipe, scene, index, options)))


def look_only_back(pipe: VideoGenerator) -> None:
    """Run a model as if it were causal, which extension "cached" needs."""
    model = pipe.model
    assert isinstance(model, Model), "only a model of this project's own kind"
    config = dataclasses.replace(model.spec.dit, causal=True)
    dit = SpacetimeDiT(config).eval()
    dit.load_state_dict(model.dit.state_dict())
    spec = dataclasses.replace(model.spec, dit=config)
    pipe.spec, pipe.model = spec, dataclasses.replace(model, spec=spec, dit=dit)


def measure(
    pipe: VideoGenerator, scene: Scene, index: int, options: argparse.Namespace
) -> dict[str, Any]:
    """One clip: what the judge reads in every second, and the pixels at the seams and between."""
    fields = dict(part.split("=", 1) for part in options.set)
    settings = {name: json.loads(value) if value[0] in "-.0123456789[tfn" else value
                for name, value in fields.items()}  # fmt: skip
    request = pipe.resolve(
        prompt=prompt_of(scene, index, free=False),
        seed=index,
        num_frames=options.num_frames,
        **settings,
    )
    started = time.monotonic()
    frames, seams, apart = make(pipe, request, options.apart)
    took_s = time.monotonic() - started
    if index < options.keep:
        np.savez_compressed(options.out / f"{index:03}.npz", frames=frames)
    measured = read_over_time(frames, seams, scene, request.fps)
    if apart is not None:
        measured["apart"] = read_over_time(apart[0], apart[1], scene, request.fps)["seam"]
    return {"prompt": request.prompt, "took_s": took_s, **measured}


def make(
    pipe: VideoGenerator, request: ClipRequest, decode_apart: bool
) -> tuple[np.ndarray, list[int], tuple[np.ndarray, list[int]] | None]:
    """Frames, the first frame of each chunk, and the same with each chunk decoded by itself."""
    cache: dict[str, torch.Tensor] = {}
    parts, parts_apart = [], []
    for chunk in pipe.stream(request):
        parts.append(np.concatenate(list(pipe.decode_chunk(chunk, cache))))
        if decode_apart:
            parts_apart.append(np.concatenate(list(pipe.decode(chunk.latents))))
    joined = np.concatenate(parts), starts_of(parts)
    if not decode_apart:
        return *joined, None
    return *joined, (np.concatenate(parts_apart), starts_of(parts_apart))


def starts_of(parts: list[np.ndarray]) -> list[int]:
    return np.cumsum([0, *map(len, parts[:-1])]).tolist()


def report(options: argparse.Namespace) -> None:
    for folder in options.folders:
        clips = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
        summary = summarise(clips)
        curve = summary.pop("curve")
        print(json.dumps({"folder": folder.name, **summary}))
        if options.curve:
            print_curve(curve)


def print_curve(rows: list[dict[str, float]]) -> None:
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(f"{value:g}" for value in row.values()) + " |")


def pictures(options: argparse.Namespace) -> None:
    for path in sorted(options.folder.glob("*.npz")):
        frames = np.load(path)["frames"]
        options.to.mkdir(parents=True, exist_ok=True)
        for name, draw in (("sheet", contact_sheet), ("xt", cut_through_time)):
            picture = draw(frames).quantize(128)
            picture.save(options.to / f"long-{path.stem}-{name}.png", optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    make_clips = commands.add_parser("run")
    make_clips.set_defaults(do=run)
    make_clips.add_argument("--out", type=Path, required=True)
    make_clips.add_argument("--model", default="default")
    make_clips.add_argument("--device", default="cpu")
    make_clips.add_argument("--threads", type=int, default=1)
    make_clips.add_argument("--count", type=int, default=42)
    make_clips.add_argument("--first", type=int, default=0, help="leave out the clips before")
    make_clips.add_argument("--num-frames", type=int, default=601)
    make_clips.add_argument("--keep", type=int, default=0, help="keep the frames of so many clips")
    make_clips.add_argument("--apart", action="store_true", help="decode chunks apart as well")
    make_clips.add_argument("--causal", action="store_true", help="look only back, for cached")
    make_clips.add_argument("--limit-s", type=float, default=float("inf"))
    make_clips.add_argument("--set", nargs="*", default=[], metavar="FIELD=VALUE")
    tell = commands.add_parser("report")
    tell.set_defaults(do=report)
    tell.add_argument("folders", type=Path, nargs="+")
    tell.add_argument("--curve", action="store_true")
    draw = commands.add_parser("pictures")
    draw.set_defaults(do=pictures)
    draw.add_argument("folder", type=Path)
    draw.add_argument("--to", type=Path, required=True)
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
