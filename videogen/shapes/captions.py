"""Captions: many phrasings of what a scene shows, complete or partial, and their reading back."""

from itertools import chain
from typing import TypeVar

import numpy as np

from videogen.shapes.mentions import mentions, split_words
from videogen.shapes.phrases import (
    BACKGROUND_FRAMES,
    BACKGROUND_TAILS,
    BACKGROUND_WORDS,
    CAMERA_WORDS,
    COLOUR_WORDS,
    MOTION_WORDS,
    NO_SHAPE_WORDS,
    OPENINGS,
    SHAPE_WORDS,
)
from videogen.shapes.scene import ObjectSpec, Scene

T = TypeVar("T")

PARTIAL_SHARE = 0.2
OPENING_SHARE = 0.25
CAMERA_SHARE = 0.9
ATTRIBUTES: tuple[str, ...] = ("colour", "shape", "motion", "background", "camera")
# What a partial caption may keep; bare ones give negative prompts such as "red" a meaning.
_KEPT: tuple[tuple[str, ...], ...] = (
    ("colour",),
    ("shape",),
    ("motion",),
    ("background",),
    ("colour", "shape"),
    ("colour", "motion"),
    ("shape", "motion"),
    ("colour", "shape", "motion"),
    ("colour", "shape", "background"),
    ("colour", "motion", "background"),
    ("shape", "motion", "background"),
)


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """Describe a scene in one of many ways; one caption in five leaves attributes out."""
    text = _of_what_is_shown(scene, rng)
    phrases = CAMERA_WORDS.get(scene.camera.name)
    if phrases is None or rng.random() >= CAMERA_SHARE:
        return text
    return f"{text}, {_pick(rng, phrases)}"


def _of_what_is_shown(scene: Scene, rng: np.random.Generator) -> str:
    kept = ATTRIBUTES
    if rng.random() < PARTIAL_SHARE:
        kept = _pick(rng, _KEPT)
    if len(kept) == 1 and rng.random() < 0.5:
        return _bare(scene, kept[0], rng)
    finite = rng.random() < 0.4
    subjects = " and ".join(_subject(spec, kept, finite, rng) for spec in scene.objects)
    backdrop = _pick(rng, BACKGROUND_WORDS[scene.background])
    if "background" in kept and rng.random() < 0.15:
        return f"on a {backdrop} background, {subjects}"
    if not finite and rng.random() < OPENING_SHARE:
        subjects = _pick(rng, OPENINGS) + subjects
    if "background" not in kept:
        return subjects
    if rng.random() < 0.3:
        return subjects + _pick(rng, BACKGROUND_TAILS).format(backdrop)
    return f"{subjects} {_pick(rng, BACKGROUND_FRAMES).format(backdrop)}"


def canonical_caption(scene: Scene) -> str:
    """The one complete caption of a scene: "a red circle moving right on a black background"."""
    subjects = " and ".join(
        f"{_article(spec.colour)} {spec.shape} {MOTION_WORDS[spec.motion][0][0]}"
        for spec in scene.objects
    )
    text = f"{subjects} on a {scene.background} background"
    phrases = CAMERA_WORDS.get(scene.camera.name)
    return text if phrases is None else f"{text}, {phrases[0]}"


def parse_caption(text: str) -> dict[str, str | None]:
    """Read the attributes a text names; None for what it does not say.

    The longest phrase wins ("blue gradient" is no blue), and the first mention of an attribute
    does, so of a two-object caption this reads the first object.

    Returns:
        A dict with the keys of ATTRIBUTES.
    """
    found: dict[str, str | None] = dict.fromkeys(ATTRIBUTES)
    for mention in mentions(split_words(text)):
        if found[mention.attribute] is None:
            found[mention.attribute] = mention.name
    return found


def _subject(
    spec: ObjectSpec, kept: tuple[str, ...], finite: bool, rng: np.random.Generator
) -> str:
    noun = _pick(rng, SHAPE_WORDS[spec.shape] if "shape" in kept else NO_SHAPE_WORDS)
    if "colour" in kept:
        noun = f"{_pick(rng, COLOUR_WORDS[spec.colour])} {noun}"
    if "motion" not in kept:
        return _article(noun)
    ing, verb = _pick(rng, MOTION_WORDS[spec.motion])
    return f"{_article(noun)} {verb if finite else ing}"


def _bare(scene: Scene, attribute: str, rng: np.random.Generator) -> str:
    spec = scene.objects[0]
    if attribute == "colour":
        return _pick(rng, COLOUR_WORDS[spec.colour])
    if attribute == "shape":
        return _pick(rng, SHAPE_WORDS[spec.shape])
    if attribute == "motion":
        return _pick(rng, MOTION_WORDS[spec.motion])[0]
    return f"{_pick(rng, BACKGROUND_WORDS[scene.background])} background"


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _pick(rng: np.random.Generator, choices: tuple[T, ...]) -> T:
    return choices[rng.integers(len(choices))]


def _all_words() -> tuple[str, ...]:
    phrases = chain(
        chain.from_iterable(
            (COLOUR_WORDS | SHAPE_WORDS | BACKGROUND_WORDS | CAMERA_WORDS).values()
        ),
        chain.from_iterable(chain.from_iterable(MOTION_WORDS.values())),
        NO_SHAPE_WORDS,
        BACKGROUND_FRAMES + BACKGROUND_TAILS + OPENINGS,
        ("a", "an", "and", "on", "background"),
    )
    return tuple(sorted({word for phrase in phrases for word in split_words(phrase)}))


WORDS: tuple[str, ...] = _all_words()
"""Every word that can occur in a caption of any world, sorted."""
