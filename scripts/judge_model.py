"""How well a model follows prompts: generate clips, read them back, count what agrees.

    python scripts/judge_model.py --model default --world narrow --count 200 --guidance 1 3 5

Prompts name colour x shape x motion combinations that training never showed, in free phrasing.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

import videogen
from videogen.generator import VideoGenerator
from videogen.shapes.captions import canonical_caption
from videogen.shapes.judge import agrees, judge
from videogen.shapes.scene import Scene
from videogen.training.clips import numbered_scene

PROMPT_SEED = 20_000_003
KEYS = ("colour", "shape", "motion", "background", "all")


def held_out_scenes(world: str, count: int) -> list[Scene]:
    """Scenes of one object whose combination is held out of training."""
    scenes: list[Scene] = []
    index = 0
    while len(scenes) < count:
        scene = numbered_scene(PROMPT_SEED, index, (world,), "held_out")
        index += 1
        if len(scene.objects) == 1:
            scenes.append(scene)
    return scenes


def follow_rates(pipe: VideoGenerator, scenes: list[Scene], **sampling: float) -> dict[str, float]:
    """Share of clips whose reading agrees with the prompt, per attribute, and seconds per clip."""
    hits: dict[str, list[bool]] = {key: [] for key in KEYS}
    started = time.monotonic()
    for index, scene in enumerate(scenes):
        clip = pipe(canonical_caption(scene), seed=index, **sampling)
        verdict = agrees(judge(clip.to_array()), scene)
        for key in KEYS:
            hits[key].append(verdict[key])
    rates = {key: float(np.mean(values)) for key, values in hits.items()}
    return rates | {"seconds_per_clip": (time.monotonic() - started) / len(scenes)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="default")
    parser.add_argument("--world", default="narrow")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 3.0, 5.0])
    parser.add_argument("--steps", type=int, nargs="+", default=[16])
    parser.add_argument("--num-frames", type=int, default=17)
    options = parser.parse_args()
    pipe = videogen.load(options.model)
    scenes = held_out_scenes(options.world, options.count)
    for steps in options.steps:
        for scale in options.guidance:
            rates = follow_rates(
                pipe,
                scenes,
                guidance_scale=scale,
                num_inference_steps=steps,
                num_frames=options.num_frames,
            )
            row = {"guidance": scale, "steps": steps, **{k: round(v, 3) for k, v in rates.items()}}
            print(json.dumps(row))


if __name__ == "__main__":
    main()
