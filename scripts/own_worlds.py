"""The narrow world with something added that the default model does not know."""

from __future__ import annotations

import dataclasses

import numpy as np

from videogen.shapes.scene import Scene, Split, sample_scene
from videogen.shapes.vocabulary import EVERYTHING, WORLDS, World

FIELDS = {"colour": "colours", "shape": "shapes", "motion": "motions"}


def world_with(additions: list[str]) -> World:
    """The narrow world and other things the renderer can draw, each said as `shape=star`.

    Raises:
        SystemExit: the renderer can't draw an addition.
    """
    world, wide = WORLDS["narrow"], EVERYTHING
    for addition in additions:
        kind, _, name = addition.partition("=")
        field = FIELDS.get(kind)
        if field is None or name not in getattr(wide, field):
            known = ", ".join(f"{k}={n}" for k, f in FIELDS.items() for n in getattr(wide, f))
            raise SystemExit(f"--add: got {addition}, expected one of {known}")
        world = dataclasses.replace(world, **{field: (*getattr(world, field), name)})
    return world


def shows(scene: Scene, addition: str) -> bool:
    """Whether an object of a scene has what was added."""
    kind, _, name = addition.partition("=")
    return any(getattr(spec, kind) == name for spec in scene.objects)


def scenes_with(
    additions: list[str], count: int, seed: int, split: Split, share: float = 1.0
) -> list[Scene]:
    """Scenes of which `share` show at least one of the additions, drawn by number."""
    world, scenes, index = world_with(additions), [], 0
    wanted = {True: round(share * count), False: count - round(share * count)}
    while len(scenes) < count:
        scene = sample_scene(np.random.default_rng([seed, index]), world, split)
        index += 1
        is_new = any(shows(scene, addition) for addition in additions)
        if wanted[is_new]:
            wanted[is_new] -= 1
            scenes.append(scene)
    return scenes
