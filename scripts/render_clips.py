"""A folder of captioned clips to learn from, some with something the default model does not know.

    python scripts/render_clips.py clips --add shape=star --count 320

Each clip is NNNN.mp4 with its caption in NNNN.txt.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from own_worlds import scenes_with

from videogen.media import write_video
from videogen.shapes.captions import caption
from videogen.shapes.render import render


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--add", action="append", default=[], help="such as shape=star; repeatable")
    parser.add_argument("--share", type=float, default=0.6, help="of clips that show what is added")
    parser.add_argument("--count", type=int, default=320)
    parser.add_argument("--num-frames", type=int, default=17)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    scenes = scenes_with(options.add, options.count, options.seed, "train", options.share)
    for index, scene in enumerate(scenes):
        frames = render(scene, options.num_frames, options.size, options.size)
        path = options.out / f"{index:04}.mp4"
        write_video(path, frames, fps=12.0)
        path.with_suffix(".txt").write_text(caption(scene, np.random.default_rng(index)) + "\n")


if __name__ == "__main__":
    main()
