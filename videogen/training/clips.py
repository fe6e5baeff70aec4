"""Rendered, captioned clips by number: clip `i` of a seed is always the same scene."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from videogen.shapes.motion import StartsOver
from videogen.shapes.render import render
from videogen.shapes.scene import Scene, Split, sample_scene
from videogen.shapes.vocabulary import WORLDS


def numbered_scene(seed: int, index: int, worlds: Sequence[str], split: Split = "train") -> Scene:
    """Scene `index`: a world is drawn from `worlds` (names may repeat), then a scene from it."""
    rng = np.random.default_rng([seed, index])
    world = WORLDS[worlds[int(rng.integers(len(worlds)))]]
    return sample_scene(rng, world, split)


def as_pixels(frames: np.ndarray) -> Tensor:
    """uint8 frames `t h w c` to float32 `c t h w` in [-1, 1]."""
    return torch.from_numpy(frames).permute(3, 0, 1, 2).float().div_(127.5).sub_(1.0)


def render_batch(scenes: Sequence[Scene], num_frames: int, size: int) -> Tensor:
    """Render scenes as float32 `b c t h w` in [-1, 1]."""
    return torch.stack([as_pixels(render(scene, num_frames, size, size)) for scene in scenes])


def render_round(
    scenes: Sequence[Scene], num_frames: int, size: int, *, rounds: Sequence[StartsOver], after: int
) -> Tensor:
    """Render the ends of clips that run round, with `after` frames of their second round.

    Returns:
        float32 `b c t h w` in [-1, 1]; frame 0 once more is frame `num_frames - 1 - after`.
    """
    clips = [
        render(scene, num_frames, size, size, turn.at + after + 1 - num_frames, turn)
        for scene, turn in zip(scenes, rounds, strict=True)
    ]
    return torch.stack([as_pixels(clip) for clip in clips])
