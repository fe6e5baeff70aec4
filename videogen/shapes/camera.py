"""Where the camera looks at every frame: pans and zooms over a world that repeats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from videogen.shapes.motion import StartsOver, Trajectory, shorter_way

# How far a zoom goes, in doublings: from half of it to half of it, at an even pace.
ZOOM_RANGE = 0.8
PAN_DIRECTIONS: dict[str, int] = {"pan left": -1, "pan right": 1}
ZOOM_DIRECTIONS: dict[str, int] = {"zoom in": 1, "zoom out": -1}


@dataclass(frozen=True)
class CameraSpec:
    """What the camera does.

    Attributes:
        name: one of `vocabulary.CAMERAS`.
        speed: per frame. Pans: fraction of the width; zooms: share of the whole zoom. Still: 0.
    """

    name: str = "still"
    speed: float = 0.0


@dataclass(frozen=True)
class View:
    """What the camera sees, as float32 arrays `[t]`.

    Attributes:
        x: the middle of the picture in the world, in widths from where it was at frame 0.
        scale: how much larger than life things look.
    """

    x: np.ndarray
    scale: np.ndarray

    def of(self, path: Trajectory) -> Trajectory:
        """A path in the world, in places of the picture."""
        x, y = (path.x - 0.5 - self.x) * self.scale, (path.y - 0.5) * self.scale
        return Trajectory(x + 0.5, y + 0.5, path.scale * self.scale, path.angle)


def view(spec: CameraSpec, frames: np.ndarray, starts_over: StartsOver | None = None) -> View:
    """Follow the camera through the absolute frame indices `frames` `[t]`."""
    now = _going_on(spec, frames)
    if starts_over is None:
        return now
    again = _going_on(spec, frames - starts_over.at)
    share = starts_over.share(frames)
    return View(
        x=now.x + share * shorter_way(again.x - now.x),
        scale=now.scale ** (1 - share) * again.scale**share,
    )


def _going_on(spec: CameraSpec, frames: np.ndarray) -> View:
    step = frames.astype(np.float32)
    x, scale = np.zeros_like(step), np.ones_like(step)
    if spec.name in PAN_DIRECTIONS:
        x = PAN_DIRECTIONS[spec.name] * spec.speed * step
    elif spec.name in ZOOM_DIRECTIONS:
        done = np.clip(spec.speed * step, 0, 1) - 0.5
        scale = np.exp2(ZOOM_DIRECTIONS[spec.name] * ZOOM_RANGE * done)
    return View(x.astype(np.float32), scale.astype(np.float32))
