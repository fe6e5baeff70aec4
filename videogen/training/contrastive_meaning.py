"""What captions of the shapes' world say, and of which scenes it is true.

In a batch, a caption may be true of other clips than its own ("a red ball" of every red ball);
those pairs are no negatives.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from videogen.shapes.mentions import mentions_of_objects, split_words
from videogen.shapes.scene import Scene
from videogen.shapes.vocabulary import BACKGROUNDS, CAMERAS, COLOURS, MOTIONS, SHAPES

_NAMES: dict[str, tuple[str, ...]] = {
    "colour": COLOURS,
    "shape": SHAPES,
    "motion": MOTIONS,
    "background": BACKGROUNDS,
    "camera": CAMERAS,
}
_OF_OBJECTS = ("colour", "shape", "motion")
_OF_SCENES = ("background", "camera")
UNSAID = -1
MAX_OBJECTS = 2


def said(caption: str) -> np.ndarray:
    """What a caption says, as int `[8]`: colour, shape, motion of two objects, background, camera.

    Numbers are places in the vocabulary; what is not said is `UNSAID`.
    """
    parts = [
        {mention.attribute: mention.name for mention in reversed(part)}
        for part in mentions_of_objects(split_words(caption))
    ]
    objects = [*parts, *[{}] * MAX_OBJECTS][:MAX_OBJECTS]
    found = [_number(key, part.get(key)) for part in objects for key in _OF_OBJECTS]
    for key in _OF_SCENES:
        names = [part[key] for part in parts if key in part]
        found.append(_number(key, names[0] if names else None))
    return np.array(found)


def shown(scene: Scene) -> np.ndarray:
    """What a scene shows, numbered as in `said`; of a missing second object `UNSAID - 1`."""
    objects = [[_number(key, getattr(spec, key)) for key in _OF_OBJECTS] for spec in scene.objects]
    objects += [[UNSAID - 1] * len(_OF_OBJECTS)] * (MAX_OBJECTS - len(objects))
    return np.array(
        [
            *objects[0],
            *objects[1],
            _number("background", scene.background),
            _number("camera", scene.camera.name),
        ]
    )


def is_true_of(captions: Sequence[str], scenes: Sequence[Scene]) -> np.ndarray:
    """Of which scenes captions are true, bool `[scenes captions]`.

    The objects of a caption may be those of a scene in any order; what it leaves out may be
    anything, another object included.
    """
    texts = np.stack([said(caption) for caption in captions])[None]
    clips = np.stack([shown(scene) for scene in scenes])[:, None]
    first, second, place = slice(0, 3), slice(3, 6), slice(6, 8)

    def fits(of_text: slice, of_clip: slice) -> np.ndarray:
        asked = texts[..., of_text]
        return ((asked == UNSAID) | (asked == clips[..., of_clip])).all(axis=-1)

    in_order = fits(first, first) & fits(second, second)
    exchanged = fits(first, second) & fits(second, first)
    return (in_order | exchanged) & fits(place, place)


def _number(key: str, name: str | None) -> int:
    return UNSAID if name is None else _NAMES[key].index(name)
