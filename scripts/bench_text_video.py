"""What the text-video encoder is worth. Prints one JSON object a line.

    python scripts/bench_text_video.py retrieve --count 500
    python scripts/bench_text_video.py agree --count 100

`retrieve` renders clips of combinations that training never showed: the clip of a prompt among all,
the prompt of a clip among all, and prompts with one thing exchanged; also with clips that went
through the default model's VAE. `agree` makes clips of the narrow world, well and badly, and says
how the encoder ranks those that the judge calls right above those it calls wrong.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import videogen
from videogen.evaluation.backends.text_video import TextVideoReader
from videogen.generator import VideoGenerator
from videogen.models.text_video_spec import SHIPPED
from videogen.shapes.captions import canonical_caption
from videogen.shapes.judge import agrees, judge
from videogen.shapes.render import render
from videogen.shapes.scene import Scene
from videogen.shapes.vocabulary import WORLDS
from videogen.training.clips import as_pixels, numbered_scene
from videogen.training.contrastive_meaning import is_true_of

SEED = 40_000_003
NUM_FRAMES, SIDE_PX = 17, 64
KEYS = ("colour", "shape", "motion", "background")


def scenes_of(worlds: Sequence[str], count: int) -> list[Scene]:
    """Scenes of combinations that are held out of training."""
    return [numbered_scene(SEED, index, worlds, "held_out") for index in range(count)]


def retrieve(reader: TextVideoReader, options: argparse.Namespace) -> None:
    scenes = scenes_of(("narrow", "wide"), options.count)
    prompts = [canonical_caption(scene) for scene in scenes]
    clips = [render(scene, NUM_FRAMES, SIDE_PX, SIDE_PX) for scene in scenes]
    pipe = videogen.load(options.model) if options.vae else None
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {"rendered": lambda clip: clip}
    if pipe is not None:
        ways["through the VAE"] = lambda clip: decoded(pipe, clip)
    vectors = [reader.read(prompt) for prompt in prompts]
    texts = np.stack([each.prompt for each in vectors])
    true = is_true_of(prompts, scenes)
    for way, change in ways.items():
        seen = np.stack([reader.watch(change(clip)) for clip in clips])
        cosines = seen @ texts.T
        own = np.arange(len(scenes))
        report(
            {
                "clips": way,
                "count": len(scenes),
                "clip_of_prompt": mean(true[cosines.argmax(axis=0), own]),
                "prompt_of_clip": mean(true[own, cosines.argmax(axis=1)]),
                "clip_of_prompt_in_five": mean(
                    [true[best, i].any() for i, best in enumerate(np.argsort(-cosines.T)[:, :5])]
                ),
                "own_cosine": spread(cosines[own, own]),
                "other_cosine": spread(cosines[~true]),
                "exchanged": exchanged(seen, vectors, cosines[own, own]),
            }
        )


def exchanged(seen: np.ndarray, vectors: Sequence[Any], own: np.ndarray) -> dict[str, Any]:
    """By kind: share of wrong prompts below the right one, and of clips with all of them below."""
    pairs: dict[str, list[np.ndarray]] = defaultdict(list)
    for clip, said, cosine in zip(seen, vectors, own, strict=True):
        for kind, others in said.nearly.items():
            pairs[kind].append(cosine > others @ clip)
    return {
        kind: {
            "clips": len(found),
            "prompts": sum(map(len, found)),
            "below": mean(np.concatenate(found)),
            "all_below": mean([bool(each.all()) for each in found]),
        }
        for kind, found in sorted(pairs.items())
    }


def decoded(pipe: VideoGenerator, clip: np.ndarray) -> np.ndarray:
    """A clip as the default model's VAE gives it back."""
    with torch.inference_mode():
        latents = pipe.model.vae.encode(as_pixels(clip)[None])
        frames = torch.cat(list(pipe.model.vae.decode_stream([latents])), dim=2).clamp(-1, 1)
    return ((frames[0].permute(1, 2, 3, 0) + 1) * 127.5).round().byte().numpy()


def agree(reader: TextVideoReader, options: argparse.Namespace) -> None:
    pipe = videogen.load(options.model)
    scenes = scenes_of(("narrow",), options.count)
    rows = []
    badly = {"num_inference_steps": options.bad_steps, "guidance_scale": 1.0}
    for way, sampling in (("as recommended", {}), ("badly", badly)):
        rows += [judged(pipe, reader, scene, i, way, sampling) for i, scene in enumerate(scenes)]
    for way in ("badly", "as recommended", None):
        of_way = [row for row in rows if way in (row["way"], None)]
        right = [row["all"] for row in of_way]
        said = {
            "clips": way or "both",
            "count": len(of_way),
            "right": mean(right),
            "auc_similarity": auc([row["similarity"] for row in of_way], right),
            "auc_rank": auc([row["rank"] for row in of_way], right),
            "similarity_of_right": spread([r["similarity"] for r in of_way if r["all"]]),
            "similarity_of_wrong": spread([r["similarity"] for r in of_way if not r["all"]]),
        }
        for key in KEYS:
            verdicts = [row[key] for row in of_way]
            said[f"auc_of_{key}"] = auc([row["lead"][key] for row in of_way], verdicts)
            said[f"wrong_{key}"] = len(verdicts) - sum(verdicts)
        report(said)


def judged(
    pipe: VideoGenerator,
    reader: TextVideoReader,
    scene: Scene,
    seed: int,
    way: str,
    sampling: dict[str, Any],
) -> dict[str, Any]:
    """A generated clip: what the judge says of it, and the encoder's numbers."""
    prompt = canonical_caption(scene)
    clip = pipe(prompt, seed=seed, num_frames=NUM_FRAMES, **sampling).to_array()
    said, seen = reader.read(prompt), reader.watch(clip)
    cosine = float(seen @ said.prompt)
    leads = {kind: cosine - others @ seen for kind, others in said.nearly.items()}
    return {
        "way": way,
        **agrees(judge(clip, WORLDS["narrow"]), scene),
        "similarity": cosine,
        "rank": mean(np.concatenate(list(leads.values())) > 0),
        "lead": {kind: float(lead.min()) for kind, lead in leads.items()},
    }


def auc(numbers: Sequence[float], right: Sequence[bool]) -> float | None:
    """How often a right clip has the larger number than a wrong one; ties count half."""
    values, truth = np.array(numbers), np.array(right, bool)
    above = values[truth][:, None] - values[~truth][None]
    return mean((np.sign(above) + 1) / 2) if above.size else None


def mean(values: Any) -> float:
    return round(float(np.mean(values)), 4)


def spread(values: Any) -> list[float] | None:
    """The 5th, 50th and 95th percentile."""
    found = np.asarray(values, np.float64)
    return np.percentile(found, (5, 50, 95)).round(3).tolist() if found.size else None


def report(record: dict[str, Any]) -> None:
    print(json.dumps(record), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("retrieve", "agree"))
    parser.add_argument("--encoder", type=Path, default=SHIPPED)
    parser.add_argument("--model", default="default")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--bad-steps", type=int, default=4)
    parser.add_argument("--vae", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    {"retrieve": retrieve, "agree": agree}[options.what](TextVideoReader(options.encoder), options)


if __name__ == "__main__":
    main()
