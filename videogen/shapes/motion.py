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


@dataclass(frozen=True)
class StartsOver:
    """A clip that runs round: its objects glide back to where they were at frame 0, and go on.

    Attributes:
        at: the frame that is frame 0 once more.
        over: how many frames before it the way back takes.
    """

    at: int
    over: int

    def share(self, frames: np.ndarray) -> np.ndarray:
        """How far back objects are at each frame, float32 `[t]` in [0, 1], eased at both ends."""
        way = np.clip((frames - self.at) / self.over + 1, 0, 1).astype(np.float32)
        return way * way * (3 - 2 * way)


def trajectory(
    spec: "ObjectSpec", frames: np.ndarray, starts_over: "StartsOver | None" = None
) -> Trajectory:
    """Follow `spec` through the absolute frame indices `frames` `[t]`.

    The picture is a torus: the renderer wraps what leaves it.
    """
    path = _going_on(spec, frames)
    if starts_over is None:
        return path
    again = _going_on(spec, frames - starts_over.at)
    share = starts_over.share(frames)
    return Trajectory(
        x=path.x + share * shorter_way(again.x - path.x),
        y=path.y + share * shorter_way(again.y - path.y),
        scale=path.scale ** (1 - share) * again.scale**share,
        angle=path.angle + share * shorter_way(again.angle - path.angle),
    )


def shorter_way(turns: np.ndarray) -> np.ndarray:
    """The same place on the circle, at most half a turn away."""
    return turns - np.round(turns)


def _going_on(spec: "ObjectSpec", frames: np.ndarray) -> Trajectory:
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
