"""How good a model is, read back from its clips by the judge. Prints one JSON object a line.

    python scripts/judge_model.py follow --world narrow --count 200 --guidance 1 3 5 --steps 16 8
    python scripts/judge_model.py follow --world wide --objects 2 --count 250 --steps 12
    python scripts/judge_model.py vae --world narrow --count 64
    python scripts/judge_model.py negative --count 60

`follow` asks for colour x shape x motion combinations that training never showed, with `--add
shape=star` for those that show something that was learned since, also by what they ask for
(camera, motion); `vae` encodes
and decodes held-out clips; `negative` counts red clips with and without `negative_prompt: red`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from own_worlds import scenes_with, world_with

import videogen
from videogen.generator import VideoGenerator
from videogen.shapes.captions import canonical_caption, caption, parse_caption
from videogen.shapes.judge import Reading, agrees, judge, judge_objects
from videogen.shapes.scene import Scene
from videogen.shapes.vocabulary import SHAPES, WORLDS
from videogen.training.clips import numbered_scene, render_batch

PROMPT_SEED = 20_000_003
KEYS = ("colour", "shape", "motion", "background", "camera", "all")


def held_out_scenes(world: str, count: int, objects: int = 1) -> list[Scene]:
    """Scenes of so many objects whose combinations are held out of training."""
    scenes: list[Scene] = []
    index = 0
    while len(scenes) < count:
        scene = numbered_scene(PROMPT_SEED, index, (world,), "held_out")
        index += 1
        if len(scene.objects) == objects:
            scenes.append(scene)
    return scenes


def follow(pipe: VideoGenerator, options: argparse.Namespace) -> None:
    """Share of clips whose reading agrees with the prompt, per attribute."""
    scenes = held_out_scenes(options.world, options.count, options.objects)
    if options.add:
        scenes = scenes_with(options.add, options.count, PROMPT_SEED, "held_out")
    for steps in options.steps:
        for scale in options.guidance:
            asked = {"num_inference_steps": steps, "guidance_scale": scale}
            settings = {**options.sampling, **asked}
            report({**settings, **follow_rates(pipe, scenes, options, **settings)})


def follow_rates(
    pipe: VideoGenerator, scenes: list[Scene], options: argparse.Namespace, **sampling: Any
) -> dict[str, Any]:
    verdicts = []
    missed = []
    started = time.monotonic()
    for index, scene in enumerate(scenes):
        prompt = prompt_of(scene, index, options.free)
        clip = pipe(prompt, seed=index, num_frames=options.num_frames, **sampling)
        world = world_with(options.add) if options.add else WORLDS[options.world]
        readings = judge_objects(clip.to_array(), world, len(scene.objects))
        verdicts.append(agrees(readings, scene))
        if not verdicts[-1]["all"]:
            missed.append(f"{prompt} -> {' and '.join(map(said_of, readings))}")
    seconds = (time.monotonic() - started) / len(scenes)
    rates = {key: round(float(np.mean([v[key] for v in verdicts])), 4) for key in KEYS}
    by_name = {
        name: f"{len(right) - sum(right)} of {len(right)}"
        for name, right in sorted(grouped(scenes, verdicts).items())
        if not all(right)
    }
    rest = {"seconds_per_clip": round(seconds, 3), "wrong": by_name}
    return {**rates, **rest, "missed": missed[: options.show]}


def grouped(scenes: list[Scene], verdicts: list[dict[str, bool]]) -> dict[str, list[bool]]:
    """Whether clips are all right, by every name that they were asked for."""
    groups: dict[str, list[bool]] = {}
    for scene, verdict in zip(scenes, verdicts, strict=True):
        names = {scene.background, f"camera {scene.camera.name}"}
        for spec in scene.objects:
            names |= {spec.colour, spec.shape, spec.motion}
        for name in names:
            groups.setdefault(name, []).append(verdict["all"])
    return groups


def said_of(reading: Reading) -> str:
    """A reading in few words."""
    words = f"{reading.colour} {reading.shape} {reading.motion} on {reading.background}"
    return words if reading.camera == "still" else f"{words}, {reading.camera}"


def prompt_of(scene: Scene, index: int, free: bool) -> str:
    """The canonical caption, or one in free wording that still says everything."""
    spec, *others = scene.objects
    if not free or others:
        return canonical_caption(scene)
    camera = scene.camera.name
    for attempt in range(1000):
        text = caption(scene, np.random.default_rng([2, index, attempt]))
        wanted = {"colour": spec.colour, "shape": spec.shape, "motion": spec.motion}
        asked = {} if camera == "still" else {"camera": camera}
        if says(text, {**wanted, **asked, "background": scene.background}):
            return text
    return canonical_caption(scene)


def says(text: str, wanted: Mapping[str, str]) -> bool:
    said = parse_caption(text)
    return all(said.get(key) == value for key, value in wanted.items())


def vae(pipe: VideoGenerator, options: argparse.Namespace) -> None:
    """PSNR over all pixels of held-out clips, encoded and decoded, and what the judge reads."""
    squared, verdicts = [], []
    for scene in held_out_scenes(options.world, options.count, options.objects):
        frames = render_batch([scene], options.num_frames, 64)
        with torch.inference_mode():
            latents = pipe.model.vae.encode(frames)
            restored = torch.cat(list(pipe.model.vae.decode_stream([latents])), dim=2).clamp(-1, 1)
        squared.append(float((restored - frames).square().mean()) / 4)
        pixels = ((restored[0].permute(1, 2, 3, 0) + 1) * 127.5).round().byte().numpy()
        readings = judge_objects(pixels, WORLDS[options.world], len(scene.objects))
        verdicts.append(agrees(readings, scene))
    per_clip = -10 * np.log10(np.array(squared))
    rates = {key: round(float(np.mean([v[key] for v in verdicts])), 4) for key in KEYS}
    psnr = float(-10 * np.log10(np.mean(squared)))
    report(
        {"psnr_db": round(psnr, 2), "mean_of_clips_db": round(float(per_clip.mean()), 2), **rates}
    )


def negative(pipe: VideoGenerator, options: argparse.Namespace) -> None:
    """Share of red clips for prompts that leave the colour open, without and with the negative."""
    shapes = WORLDS["narrow"].shapes or SHAPES
    for negative_prompt in ("", "red"):
        red = 0
        for index in range(options.count):
            prompt = f"a {shapes[index % len(shapes)]}"
            clip = pipe(prompt, seed=index, negative_prompt=negative_prompt)
            red += judge(clip.to_array(), WORLDS["narrow"]).colour == "red"
        report({"negative_prompt": negative_prompt, "clips": options.count, "red": red})


def report(row: dict[str, Any]) -> None:
    print(json.dumps(row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = {"follow": follow, "vae": vae, "negative": negative}
    parser.add_argument("command", choices=commands)
    parser.add_argument("--model", default="default")
    parser.add_argument("--world", default="narrow", choices=WORLDS)
    parser.add_argument("--add", action="append", default=[], help="such as shape=star; repeatable")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--objects", type=int, default=1, choices=(1, 2))
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 3.0, 5.0])
    parser.add_argument("--steps", type=int, nargs="+", default=[16])
    parser.add_argument("--num-frames", type=int, default=17)
    parser.add_argument(
        "--sampling", type=json.loads, default={}, help="other request fields, as JSON"
    )
    parser.add_argument("--free", action="store_true", help="free wording, not the canonical one")
    parser.add_argument("--show", type=int, default=8, help="how many misses to print")
    options = parser.parse_args()
    commands[options.command](videogen.load(options.model), options)


if __name__ == "__main__":
    main()
