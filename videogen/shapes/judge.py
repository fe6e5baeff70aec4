"""Reads a clip back into words: colour, shape, motion, background and camera, from its pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from videogen.shapes.backdrop import Backdrop, read_backdrop, texture_of
from videogen.shapes.camera_fit import CameraReading, camera_at_rest, read_camera
from videogen.shapes.motion_fit import follow, name_motion
from videogen.shapes.scene import Scene
from videogen.shapes.segmentation import Segment, find_segments
from videogen.shapes.shape_fit import name_shape
from videogen.shapes.vocabulary import EVERYTHING, TEXTURES, World

MIN_FRAMES = 5
MAX_OBJECTS = 2
# Larger clips are averaged down to about this many pixels on the shorter side.
WORKING_SIDE_PX = 64
KEYS: tuple[str, ...] = ("colour", "shape", "motion", "background", "camera")


@dataclass(frozen=True)
class Reading:
    """What a clip shows of one object; colour, shape and motion are None where no object was found.

    Attributes:
        motion: as a camera at rest would see it.
        confidence: 0 to 1, of the least certain attribute.
        camera: what the camera does; "still" where no texture shows it.
    """

    colour: str | None
    shape: str | None
    motion: str | None
    background: str
    confidence: float
    camera: str = "still"


def judge(frames: np.ndarray, world: World = EVERYTHING) -> Reading:
    """Read the largest object of a clip, and its background.

    Args:
        frames: uint8 `[t h w c]`, at least 5 frames, any size.
        world: the names to choose from.

    Raises:
        ValueError: the frames have another type or shape.
    """
    return judge_objects(frames, world, max_objects=1)[0]


def judge_objects(
    frames: np.ndarray, world: World = EVERYTHING, max_objects: int = MAX_OBJECTS
) -> tuple[Reading, ...]:
    """Read every object of a clip, told apart by colour, largest first.

    A clip without any object gives one empty reading. Arguments as for `judge`.
    """
    _check(frames)
    small = _working_size(frames)
    backdrop = read_backdrop(small, world.backgrounds)
    segments = find_segments(small, backdrop.image, world.colours, max_objects)
    camera = _read_camera(small, backdrop)
    readings = []
    for segment in segments:
        colour, shape, motion, confidence = _read_object(segment, world, camera)
        confidence = min(confidence, backdrop.confidence)
        readings.append(Reading(colour, shape, motion, backdrop.name, confidence, camera.name))
    return tuple(readings) or (Reading(None, None, None, backdrop.name, 0.0, camera.name),)


def agrees(
    reading: Reading | Sequence[Reading], expected: Scene | Mapping[str, str | None]
) -> dict[str, bool]:
    """Which attributes of a reading are as expected.

    Args:
        reading: one reading, or one for each object of a scene.
        expected: a scene, or attributes by name as `parse_caption` gives them, where None and
            missing keys ask for nothing. Of a scene with two objects, a single reading may match
            either; a sequence must match one object each, and all of them.

    Returns:
        A truth value for colour, shape, motion, background, camera, and `all`.
    """
    readings = (reading,) if isinstance(reading, Reading) else tuple(reading)
    wanted = _wanted(expected)
    if not isinstance(reading, Reading) and len(readings) != len(wanted):
        return dict.fromkeys((*KEYS, "all"), False)
    return max(
        (_compare(readings, order) for order in permutations(wanted, len(readings))),
        key=lambda verdict: sum(verdict.values()),
    )


def _wanted(expected: Scene | Mapping[str, str | None]) -> list[Mapping[str, str | None]]:
    if not isinstance(expected, Scene):
        return [expected]
    return [
        {
            "colour": s.colour,
            "shape": s.shape,
            "motion": s.motion,
            "background": expected.background,
            "camera": expected.camera.name,
        }
        for s in expected.objects
    ]


def _compare(
    readings: Sequence[Reading], wanted: Sequence[Mapping[str, str | None]]
) -> dict[str, bool]:
    verdict = {
        key: all(
            want.get(key) is None or want[key] == getattr(reading, key)
            for reading, want in zip(readings, wanted, strict=True)
        )
        for key in KEYS
    }
    return verdict | {"all": all(verdict.values())}


def _read_camera(frames: np.ndarray, backdrop: Backdrop) -> CameraReading:
    if backdrop.name not in TEXTURES:
        return camera_at_rest(len(frames))
    return read_camera(*texture_of(frames, backdrop.image))


def _read_object(
    segment: Segment, world: World, camera: CameraReading
) -> tuple[str, str | None, str | None, float]:
    track = follow(segment.coverage)
    if track is None:
        return segment.colour, None, None, 0.0
    motion, motion_confidence = name_motion(camera.at_rest(track), world.motions)
    may_spin = motion == "still" and "spin" in world.motions
    shape = name_shape(segment.coverage, track, world.shapes, may_spin)
    confidence = min(segment.confidence, motion_confidence, shape.confidence)
    return segment.colour, shape.name, "spin" if shape.spins else motion, confidence


def _check(frames: np.ndarray) -> None:
    if (
        frames.dtype != np.uint8
        or frames.ndim != 4
        or frames.shape[-1] != 3
        or len(frames) < MIN_FRAMES
    ):
        raise ValueError(
            f"frames: got {frames.dtype} {frames.shape}, "
            f"expected uint8 [t h w 3] with at least {MIN_FRAMES} frames"
        )


def _working_size(frames: np.ndarray) -> np.ndarray:
    """Average whole blocks of pixels, to float32 `[t h w c]`."""
    num_frames, height, width, channels = frames.shape
    block = max(1, min(height, width) // WORKING_SIDE_PX)
    if block == 1:
        return frames.astype(np.float32)
    rows, columns = height // block, width // block
    cropped = frames[:, : rows * block, : columns * block].astype(np.float32)
    return cropped.reshape(num_frames, rows, block, columns, block, channels).mean(axis=(2, 4))
