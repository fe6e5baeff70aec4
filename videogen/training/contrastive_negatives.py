"""Scenes that differ from a given one in a single thing, for captions that are nearly right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from videogen.shapes.scene import Scene
from videogen.shapes.vocabulary import CAMERAS, ROUND_SHAPES, World

KINDS = ("colour", "shape", "motion", "background", "camera", "exchange")
"""What may differ; "exchange" gives one object's colour, shape or motion to the other."""
_OF_OBJECTS = ("colour", "shape", "motion")


def altered(scene: Scene, kind: str, world: World, rng: np.random.Generator) -> Scene | None:
    """A scene that differs in `kind`; None where there is nothing of the kind to change.

    Only what captions say is changed, so that it is not for rendering.
    """
    if kind in _OF_OBJECTS:
        return _with_object(scene, kind, world, rng)
    return _SCENES[kind](scene, world, rng)


def _with_object(scene: Scene, kind: str, world: World, rng: np.random.Generator) -> Scene | None:
    place = int(rng.integers(len(scene.objects)))
    spec = scene.objects[place]
    taken = {getattr(other, kind) for other in scene.objects}
    names: tuple[str, ...] = getattr(world, f"{kind}s")
    # A round shape that spins and one at rest look alike.
    alike = {"spin", "still"} if kind == "motion" and spec.shape in ROUND_SHAPES else set()
    others = [n for n in names if n not in taken and not (alike & {n} and spec.motion in alike)]
    if not others:
        return None
    changed = replace(spec, **{kind: _pick(rng, others)})
    objects = (*scene.objects[:place], changed, *scene.objects[place + 1 :])
    return replace(scene, objects=objects)


def _with_background(scene: Scene, world: World, rng: np.random.Generator) -> Scene | None:
    others = [name for name in world.backgrounds if name != scene.background]
    return replace(scene, background=_pick(rng, others)) if others else None


def _with_camera(scene: Scene, world: World, rng: np.random.Generator) -> Scene | None:
    """Only where the camera moves: captions say nothing of one that is still."""
    if scene.camera.name == CAMERAS[0]:
        return None
    others = [name for name in world.cameras if name not in (scene.camera.name, CAMERAS[0])]
    return replace(scene, camera=replace(scene.camera, name=_pick(rng, others)))


def _exchanged(scene: Scene, world: World, rng: np.random.Generator) -> Scene | None:
    if len(scene.objects) < 2:
        return None
    first, second = scene.objects
    different = [key for key in _OF_OBJECTS if getattr(first, key) != getattr(second, key)]
    if len(different) < 2:
        return None
    key = _pick(rng, different)
    one, other = getattr(first, key), getattr(second, key)
    return replace(scene, objects=(replace(first, **{key: other}), replace(second, **{key: one})))


def _pick(rng: np.random.Generator, names: Sequence[str]) -> str:
    return names[int(rng.integers(len(names)))]


_SCENES: dict[str, Callable[[Scene, World, np.random.Generator], Scene | None]] = {
    "background": _with_background,
    "camera": _with_camera,
    "exchange": _exchanged,
}
