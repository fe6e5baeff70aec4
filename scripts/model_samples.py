"""The samples of the model card, chosen by a fixed rule: the first held-out prompts, seed = index.

    python scripts/model_samples.py --model default --worlds narrow wide --out docs/images

Writes two pictures. `samples.png` shows the first `--count` prompts of each world, with the first,
middle and last frame, and what the judge read; green is what the prompt asked for, red is not.
`samples-wrong.png` shows the first `--wrong` of the first `--search` prompts of each world that the
judge found wrong. Prints one JSON object: how many of those were right. Nothing is picked by hand.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from judge_model import PROMPT_SEED
from PIL import Image, ImageDraw, ImageFont

import videogen
from videogen.generator import VideoGenerator
from videogen.shapes.captions import canonical_caption
from videogen.shapes.judge import Reading, agrees, judge, judge_objects
from videogen.shapes.scene import Scene
from videogen.shapes.vocabulary import WORLDS
from videogen.training.clips import numbered_scene

FRAME_PX, GAP, MARGIN, COLUMN_GAP, ROW_GAP = 112, 4, 32, 36, 26
COLUMNS = 3
CELL_PX = 3 * FRAME_PX + 2 * GAP
TEXT, SMALL, HEADING, TITLE = 15, 13, 18, 22
LINE_PX = 20
MAX_LINES = 3
PAPER, INK, DIM = (18, 19, 22), (232, 233, 236), (140, 144, 152)
RIGHT, WRONG = (82, 196, 120), (244, 96, 96)
Colour = tuple[int, int, int]
Words = list[tuple[str, Colour]]


@dataclass(frozen=True)
class Sample:
    """A prompt, the three frames of its clip, and what the judge says of it."""

    index: int
    prompt: str
    frames: Sequence[np.ndarray]
    readings: tuple[Reading, ...]
    num_objects: int
    """That the prompt asks for."""
    verdict: dict[str, bool]
    """By attribute; where objects are missing, of those that are there."""
    is_right: bool


def samples_of(pipe: VideoGenerator, world: str) -> Iterator[Sample]:
    """Sample 0, 1, … of a world; prompt, seed and clip follow from the number alone."""
    index = 0
    while True:
        scene = numbered_scene(PROMPT_SEED, index, (world,), "held_out")
        yield _sample(pipe, world, scene, index)
        index += 1


def _sample(pipe: VideoGenerator, world: str, scene: Scene, index: int) -> Sample:
    prompt = canonical_caption(scene)
    clip = pipe(prompt, seed=index).to_array()
    if len(scene.objects) == 1:
        reading = judge(clip, WORLDS[world])
        readings, verdict = (reading,), agrees(reading, scene)
        is_right = verdict["all"]
    else:
        readings = judge_objects(clip, WORLDS[world], len(scene.objects))
        is_right = agrees(readings, scene)["all"]
        is_whole = len(readings) == len(scene.objects)
        verdict = agrees(readings if is_whole else readings[0], scene)
    frames = [clip[i].copy() for i in (0, len(clip) // 2, len(clip) - 1)]
    return Sample(index, prompt, frames, readings, len(scene.objects), verdict, is_right)


def draw_sheet(title: str, sections: dict[str, list[Sample]], note: str) -> Image.Image:
    """A picture with a heading and rows of samples for each world."""
    rows = [
        (heading if first == 0 else None, samples[first : first + COLUMNS])
        for heading, samples in sections.items()
        for first in range(0, max(1, len(samples)), COLUMNS)
    ]
    blocks = [(heading, [_cell(sample) for sample in row]) for heading, row in rows]
    heights = [max([LINE_PX, *(cell.height for cell in cells)]) for _, cells in blocks]
    headings = sum(HEADING + 22 for heading, _ in blocks if heading)
    top = MARGIN + TITLE + SMALL + 26
    width = 2 * MARGIN + COLUMNS * CELL_PX + (COLUMNS - 1) * COLUMN_GAP
    height = top + headings + sum(heights) + ROW_GAP * (len(blocks) - 1) + MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN - 8), title, INK, _font(TITLE))
    draw.text((MARGIN, MARGIN + TITLE + 2), note, DIM, _font(SMALL))
    for (heading, cells), row_height in zip(blocks, heights, strict=True):
        if heading:
            draw.text((MARGIN, top), heading, INK, _font(HEADING))
            top += HEADING + 22
        if not cells:
            draw.text((MARGIN, top), "none", DIM, _font(TEXT))
        for column, cell in enumerate(cells):
            sheet.paste(cell, (MARGIN + column * (CELL_PX + COLUMN_GAP), top))
        top += row_height + ROW_GAP
    return sheet


def _cell(sample: Sample) -> Image.Image:
    prompt = _lines([(word, INK) for word in sample.prompt.split()], TEXT)
    read = _lines(_read(sample), SMALL)
    height = FRAME_PX + 10 + LINE_PX * (len(prompt) + len(read)) + 6
    cell = Image.new("RGB", (CELL_PX, height), PAPER)
    for place, frame in enumerate(sample.frames):
        thumb = Image.fromarray(frame).resize((FRAME_PX, FRAME_PX), Image.Resampling.LANCZOS)
        cell.paste(thumb, (place * (FRAME_PX + GAP), 0))
    draw = ImageDraw.Draw(cell)
    top = FRAME_PX + 10
    for lines, size in ((prompt, TEXT), (read, SMALL)):
        for line in lines:
            _write(draw, (22, top), line, size)
            top += LINE_PX
    _mark(draw, sample.is_right, FRAME_PX + 10)
    return cell


def _read(sample: Sample) -> Words:
    """What the judge read, in the colours of its verdict."""
    words: Words = [(f"#{sample.index}", DIM), ("read:", DIM)]
    colour = {key: RIGHT if right else WRONG for key, right in sample.verdict.items()}
    if len(sample.readings) != sample.num_objects:
        missing = f"{len(sample.readings)} object, not {sample.num_objects}:"
        words += [(word, WRONG) for word in missing.split()]
    for place, reading in enumerate(sample.readings):
        if place:
            words.append(("and", DIM))
        for key in ("colour", "shape", "motion"):
            value = getattr(reading, key) or f"no {key}"
            words += [(word, colour[key]) for word in str(value).split()]
    first = sample.readings[0]
    words += [("on", DIM), *((word, colour["background"]) for word in first.background.split())]
    if first.camera != "still" or not sample.verdict["camera"]:
        words += [("camera", DIM), *((word, colour["camera"]) for word in first.camera.split())]
    return words


def _mark(draw: ImageDraw.ImageDraw, is_right: bool, top: int) -> None:
    """A tick or a cross, drawn, since not every font has them."""
    if is_right:
        draw.line([(1, top + 9), (6, top + 14), (15, top + 3)], RIGHT, 3, joint="curve")
        return
    draw.line([(2, top + 3), (13, top + 14)], WRONG, 3)
    draw.line([(13, top + 3), (2, top + 14)], WRONG, 3)


def _lines(words: Words, size: int) -> list[Words]:
    """Words in lines that fit beside the mark; what is over is said by an ellipsis."""
    lines: list[Words] = [[]]
    for word in words:
        text = " ".join(each for each, _ in [*lines[-1], word])
        if lines[-1] and _font(size).getlength(text) > CELL_PX - 22:
            lines.append([])
        lines[-1].append(word)
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 1], [*lines[MAX_LINES - 1][:-1], ("…", DIM)]]
    return lines


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], line: Words, size: int) -> None:
    left, top = place
    for word, colour in line:
        draw.text((left, top), word, colour, _font(size))
        left += round(_font(size).getlength(f"{word} "))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="default")
    parser.add_argument("--worlds", nargs="+", default=["narrow"], choices=WORLDS)
    parser.add_argument("--count", type=int, default=12, help="samples of each world")
    parser.add_argument("--wrong", type=int, default=6, help="wrong ones of each world")
    parser.add_argument("--search", type=int, default=60, help="prompts to look for those among")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--name", default="samples", help="the pictures are called after this")
    options = parser.parse_args()
    pipe = videogen.load(options.model)
    shown: dict[str, list[Sample]] = {}
    wrong: dict[str, list[Sample]] = {}
    counts = {}
    for world in options.worlds:
        made = samples_of(pipe, world)
        found = [next(made) for _ in range(max(options.count, options.search))]
        missed = [sample for sample in found if not sample.is_right]
        right = f"{len(found) - len(missed)} of {len(found)}"
        counts[world] = {"prompts": len(found), "right": len(found) - len(missed)}
        shown[f"{world} world"] = found[: options.count]
        wrong[f"{world} world: {right} right"] = missed[: options.wrong]
    settings = pipe.resolve(prompt="")
    note = (
        f"held-out prompts in order, seed = number; {settings.num_inference_steps} steps, guidance "
        f"{settings.guidance_scale:g}; first, middle and last of {settings.num_frames} frames"
    )
    options.out.mkdir(parents=True, exist_ok=True)
    name = pipe.spec.name
    first = draw_sheet(f"{name}: the first {options.count} prompts of each world", shown, note)
    first.save(options.out / f"{options.name}.png", optimize=True)
    second = draw_sheet(f"{name}: the first {options.wrong} that came out wrong", wrong, note)
    second.save(options.out / f"{options.name}-wrong.png", optimize=True)
    print(json.dumps({"model": name, **counts}))


if __name__ == "__main__":
    main()
