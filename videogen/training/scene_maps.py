"""What is where in rendered clips, coarsely: something to learn beside the noise.

Diffusion transformers learn sooner when features of a middle block are drawn to good features of
the clean clip (REPA, Yu et al. 2410.06940). Rendered clips need no pretrained network for these:
their scenes say which shape, colour and motion covers which part of the picture. A model that has
to say it as well learns early to keep objects whole, apart, and to their words.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from videogen.shapes.camera import view
from videogen.shapes.motion import TAU, shorter_way, trajectory
from videogen.shapes.outlines import ORDERS
from videogen.shapes.scene import ObjectSpec, Scene
from videogen.shapes.vocabulary import COLOURS, MOTIONS, SHAPES

NAMES = (*SHAPES, *COLOURS, *MOTIONS)
LAYERS = (*NAMES, "cosine", "sine")
"""What a map has a layer for, in order: what is named, and how far objects are turned."""


def scene_maps(
    scenes: Sequence[Scene], firsts: Sequence[int], latent_frames: int, cells: int, factor: int
) -> Tensor:
    """How much of each cell is covered by objects of a shape, of a colour and with a motion.

    Two more layers have the cosine and the sine of how far they are turned, from 0 to 2 pi between
    two turns that look the same (`ORDERS`); circles and rings have none.
    Objects count as discs of their radius; what is drawn later covers what is below. A latent
    frame has the mean of the frames that it encodes.

    Args:
        firsts: of each clip, the latent frame that the window starts at.
        latent_frames: of the window.
        cells: of a side; the cells of latents.
        factor: frames per latent frame; the first of a clip stands for one frame.

    Returns:
        Shares in [0, 1], the last two times a value in [-1, 1]; float32 `b t h w n`, `n` as in
        `LAYERS`.
    """
    maps = [
        _scene_map(scene, _frames_of(first, latent_frames, factor), cells)
        for scene, first in zip(scenes, firsts, strict=True)
    ]
    return torch.from_numpy(np.stack(maps))


def _frames_of(first: int, latent_frames: int, factor: int) -> np.ndarray:
    """The frames of each latent frame, `t factor`."""
    last = factor * np.arange(first, first + latent_frames)[:, None]
    return np.maximum(0, last - np.arange(factor)[::-1])


def _scene_map(scene: Scene, frames: np.ndarray, cells: int) -> np.ndarray:
    """`t h w n`."""
    covered = np.zeros((frames.size, cells, cells, len(LAYERS)), np.float32)
    for spec in scene.objects:
        share = _coverage(scene, spec, frames.ravel(), cells)[..., None]
        covered += share * (_layers_of(spec, frames.ravel())[:, None, None] - covered)
    return covered.reshape(*frames.shape, cells, cells, len(LAYERS)).mean(axis=1)


def _layers_of(spec: ObjectSpec, frames: np.ndarray) -> np.ndarray:
    """`t n`."""
    layers = np.zeros((len(frames), len(LAYERS)), np.float32)
    layers[:, [NAMES.index(name) for name in (spec.shape, spec.colour, spec.motion)]] = 1
    if order := ORDERS[spec.shape]:
        turned = TAU * order * trajectory(spec, frames).angle
        layers[:, -2:] = np.stack((np.cos(turned), np.sin(turned)), axis=1)
    return layers


def _coverage(scene: Scene, spec: ObjectSpec, frames: np.ndarray, cells: int) -> np.ndarray:
    """Share of each cell that a disc about the object covers, `t h w`, on the torus."""
    path = view(scene.camera, frames).of(trajectory(spec, frames))
    middles = (np.arange(cells) + 0.5) / cells
    across = shorter_way(middles - path.x[:, None])[:, None, :]
    down = shorter_way(middles - path.y[:, None])[:, :, None]
    radius = spec.radius * path.scale[:, None, None]
    inside = (radius - np.hypot(across, down)) * cells
    return np.clip(inside + 0.5, 0, 1).astype(np.float32)
