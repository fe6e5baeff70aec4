"""Where an object is at every frame: motions as functions of the absolute frame index."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from videogen.shapes.scene import ObjectSpec

TAU = 2 * np.pi

# Unit steps per frame in (x, y); y grows downwards.
DIRECTIONS: dict[str, tuple[int, int]] = {
    "left": (-1, 0),
    "right": (1, 0),
    "up": (0, -1),
    "down": (0, 1),
    "up-left": (-1, -1),
    "up-right": (1, -1),
    "down-left": (-1, 1),
    "down-right": (1, 1),
}


@dataclass(frozen=True)
class Trajectory:
    """Where an object goes, as float32 arrays `[t]`.

    Attributes:
        x, y: centre in fractions of width and height; not wrapped, so it may leave [0, 1).
        scale: factor on the radius.
        angle: in turns, clockwise.
    """

    x: np.ndarray
    y: np.ndarray
    scale: np.ndarray
    angle: np.ndarray


def trajectory(spec: "ObjectSpec", frames: np.ndarray) -> Trajectory:
    """Follow `spec` through the absolute frame indices `frames` `[t]`.

    The picture is a torus: the renderer wraps what leaves it.
    """
    step = frames.astype(np.float32)
    x = np.full_like(step, spec.x)
    y = np.full_like(step, spec.y)
    scale = np.ones_like(step)
    angle = np.full_like(step, spec.angle)
    cycle = spec.speed * step + spec.phase
    if spec.motion in DIRECTIONS:
        dx, dy = DIRECTIONS[spec.motion]
        x += dx * spec.speed * step
        y += dy * spec.speed * step
    elif spec.motion in ("grow", "shrink"):
        sign = 1 if spec.motion == "grow" else -1
        scale = np.exp2(sign * (np.clip(spec.speed * step, 0, 1) - 0.5))
    elif spec.motion == "bounce":
        y -= spec.reach * (2 * np.abs(np.sin(np.pi * cycle)) - 1)
    elif spec.motion == "orbit":
        x += spec.reach * np.cos(TAU * cycle)
        y += spec.reach * np.sin(TAU * cycle)
    elif spec.motion == "shake":
        x += spec.reach * np.sin(TAU * cycle)
    elif spec.motion == "spin":
        angle += spec.speed * step
    return Trajectory(x, y, scale, angle)
