"""Scenes: what a clip shows, and how scenes are drawn at random from a world."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np

from videogen.shapes.camera import PAN_DIRECTIONS, ZOOM_RANGE, CameraSpec
from videogen.shapes.motion import DIRECTIONS, trajectory
from videogen.shapes.outlines import TURNED_REACH, UPRIGHT_REACH
from videogen.shapes.vocabulary import AT_REST, COLOURS, MOTIONS, SHAPES, World

Split = Literal["train", "held_out", "all"]

# Motions are paced for clips of this length: a translation crosses about half the frame in it.
PACE_FRAMES = 17
HELD_OUT_MODULUS = 8
PAIR_ATTEMPTS = 40
STILL_CAMERA = CameraSpec()


@dataclass(frozen=True)
class ObjectSpec:
    """One moving object.

    Attributes:
        colour, shape, motion: names from `vocabulary`.
        x, y: centre at frame 0 (of the path, for bounce, orbit and shake) in fractions of width
            and height.
        radius: fraction of the shorter side; the geometric middle of the range for grow and shrink.
        speed: per frame. Translations: fraction of the frame along each axis they move on. Grow
            and shrink: share of the doubling. Bounce, orbit, shake: cycles. Spin: turns. Still: 0.
        reach: half the travel of bounce, shake and orbit, in fractions of the frame; otherwise 0.
        phase: start of the cycle of bounce, orbit and shake, in cycles.
        angle: orientation at frame 0 in turns, clockwise.
    """

    colour: str
    shape: str
    motion: str
    x: float
    y: float
    radius: float
    speed: float = 0.0
    reach: float = 0.0
    phase: float = 0.0
    angle: float = 0.0


@dataclass(frozen=True)
class Scene:
    """One or two objects, drawn in order (the last on top), over a background, and the camera."""

    objects: tuple[ObjectSpec, ...]
    background: str
    camera: CameraSpec = STILL_CAMERA


def is_held_out(colour: str, shape: str, motion: str) -> bool:
    """Whether a combination is kept out of training, so that tests can ask for unseen ones.

    The rule is fixed: with `i`, `j`, `k` the places in COLOURS, SHAPES and MOTIONS, a combination
    is held out when `(i + 2 j + 3 k) mod 8 == 0`. That is one in eight, and every single name stays
    in training.
    """
    i, j, k = COLOURS.index(colour), SHAPES.index(shape), MOTIONS.index(motion)
    return (i + 2 * j + 3 * k) % HELD_OUT_MODULUS == 0


@cache
def _split_combinations(world: World, split: Split) -> tuple[tuple[str, str, str], ...]:
    if split not in ("train", "held_out", "all"):
        raise ValueError(f"split: got {split!r}, expected 'train', 'held_out' or 'all'")
    wanted = {"train": (False,), "held_out": (True,), "all": (False, True)}[split]
    return tuple(names for names in world.combinations() if is_held_out(*names) in wanted)


def held_out_combinations(world: World) -> tuple[tuple[str, str, str], ...]:
    """The (colour, shape, motion) combinations of `world` that training never shows."""
    return _split_combinations(world, "held_out")


def sample_scene(
    rng: np.random.Generator, world: World, split: Split = "train", num_frames: int = PACE_FRAMES
) -> Scene:
    """Draw a scene; every object of it belongs to `split`.

    Objects stay inside the picture for the first 17 frames; later, translations wrap around. Two
    objects avoid overlapping in the first `min(num_frames, 17)` frames where they can.
    """
    window = np.arange(min(num_frames, PACE_FRAMES))
    combinations = _split_combinations(world, split)
    background = world.backgrounds[rng.integers(len(world.backgrounds))]
    if world.moving_camera_share and rng.random() < world.moving_camera_share:
        return _sample_camera_scene(rng, world, split)
    first = combinations[rng.integers(len(combinations))]
    if rng.random() >= world.two_object_share:
        return Scene((_sample_object(rng, first, world.radius),), background)
    others = [names for names in combinations if names[0] != first[0]]
    second = others[rng.integers(len(others))]
    best, best_gap = (), -np.inf
    for _ in range(PAIR_ATTEMPTS):
        pair = tuple(_sample_object(rng, names, world.pair_radius) for names in (first, second))
        gap = _smallest_gap(pair[0], pair[1], window)
        if gap > best_gap:
            best, best_gap = pair, gap
        if gap > 0:
            break
    return Scene(best, background)


def _sample_camera_scene(rng: np.random.Generator, world: World, split: Split) -> Scene:
    """One object at rest, and a camera that pans or zooms over a texture."""
    combinations = [names for names in _split_combinations(world, split) if names[2] in AT_REST]
    names = combinations[rng.integers(len(combinations))]
    kind = world.cameras[1 + rng.integers(len(world.cameras) - 1)]
    background = world.textures[rng.integers(len(world.textures))]
    spec = _sample_object(rng, names, world.radius)
    reach = TURNED_REACH * spec.radius
    if kind in PAN_DIRECTIONS:
        travel = rng.uniform(0.3, 0.45)
        x = _sample_start(rng, min(0.5, reach), -PAN_DIRECTIONS[kind] * travel)
        camera = CameraSpec(kind, float(travel / (PACE_FRAMES - 1)))
        return Scene((replace(spec, x=x),), background, camera)
    largest = 2 ** (ZOOM_RANGE / 2)
    margin = 0.5 - 0.5 / largest + reach
    x, y = _sample_start(rng, margin, 0.0), _sample_start(rng, margin, 0.0)
    camera = CameraSpec(kind, float(rng.uniform(1 / 18, 1 / 15)))
    return Scene((replace(spec, x=x, y=y),), background, camera)


def _sample_object(
    rng: np.random.Generator, names: tuple[str, str, str], radii: tuple[float, float]
) -> ObjectSpec:
    colour, shape, motion = names
    radius = rng.uniform(*radii)
    margin_x = margin_y = min(0.5, UPRIGHT_REACH * radius)
    speed = reach = phase = angle = 0.0
    travel_x = travel_y = 0.0
    if motion in DIRECTIONS:
        dx, dy = DIRECTIONS[motion]
        travel = rng.uniform(0.4, max(0.42, min(0.6, 1 - 2 * margin_x)))
        speed = travel / (PACE_FRAMES - 1)
        travel_x, travel_y = dx * travel, dy * travel
    elif motion in ("grow", "shrink"):
        speed = rng.uniform(1 / 18, 1 / 15)
        margin_x = margin_y = min(0.5, 2**0.5 * margin_x)
    elif motion == "bounce":
        speed, phase = rng.uniform(0.09, 0.13), rng.random()
        reach = rng.uniform(0.14, min(0.2, 0.5 - margin_y))
        margin_y += reach
    elif motion == "orbit":
        speed, phase = rng.uniform(0.05, 0.07) * rng.choice((-1, 1)), rng.random()
        reach = rng.uniform(0.16, max(0.17, min(0.24, 0.5 - margin_x)))
        margin_x += reach
        margin_y += reach
    elif motion == "shake":
        speed, phase = rng.uniform(0.22, 0.3), rng.random()
        reach = rng.uniform(0.045, 0.065)
        margin_x += reach
    elif motion == "spin":
        speed, angle = rng.uniform(0.02, 0.035) * rng.choice((-1, 1)), rng.random()
        margin_x = margin_y = TURNED_REACH * radius
    x = _sample_start(rng, margin_x, travel_x)
    y = _sample_start(rng, margin_y, travel_y)
    return ObjectSpec(colour, shape, motion, x, y, radius, float(speed), reach, phase, angle)


def _sample_start(rng: np.random.Generator, margin: float, travel: float) -> float:
    """A start from which both ends of `travel` keep `margin` to the borders, as far as they can."""
    low = margin - min(travel, 0.0)
    high = 1 - margin - max(travel, 0.0)
    return rng.uniform(low, high) if low < high else (low + high) / 2


def _smallest_gap(first: ObjectSpec, second: ObjectSpec, frames: np.ndarray) -> float:
    """Least distance between two objects' rims over `frames`, on the torus; negative: overlap."""
    a, b = trajectory(first, frames), trajectory(second, frames)
    dx, dy = a.x - b.x, a.y - b.y
    distance = np.hypot(dx - np.round(dx), dy - np.round(dy))
    return float(
        np.min(distance - UPRIGHT_REACH * (a.scale * first.radius + b.scale * second.radius))
    )
