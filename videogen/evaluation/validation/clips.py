"""Clean clips to spoil: rendered, moving, of several sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from videogen.shapes import WORLDS, Scene, render, sample_scene

FPS = 12.0
SIZES_PX = (64, 96)
NUM_FRAMES = (17, 25)
ENDING = ("grow", "shrink")
"""Motions that come to rest after about 17 frames."""


@dataclass(frozen=True)
class CleanClip:
    """A clip believed to be coherent: uint8 `t h w c`, with a name that tells where it is from."""

    name: str
    frames: np.ndarray
    fps: float


def rendered_clips(count: int, seed: int = 7) -> list[CleanClip]:
    """Scenes of the wide world in which something moves; still ones are left out."""
    rng = np.random.default_rng(seed)
    clips: list[CleanClip] = []
    while len(clips) < count:
        scene = sample_scene(rng, WORLDS["wide"], "all")
        if moves(scene):
            clips.append(_render(scene, len(clips)))
    return clips


def moves(scene: Scene) -> bool:
    """Whether any object of a scene is not at rest."""
    return any(spec.motion != "still" for spec in scene.objects)


def _render(scene: Scene, index: int) -> CleanClip:
    size = SIZES_PX[index % len(SIZES_PX)]
    num_frames = NUM_FRAMES[index // len(SIZES_PX) % len(NUM_FRAMES)]
    if any(spec.motion in ENDING for spec in scene.objects):
        num_frames = min(NUM_FRAMES)
    motion = "+".join(spec.motion for spec in scene.objects)
    return CleanClip(f"rendered-{index:03d}-{motion}", render(scene, num_frames, size, size), FPS)
