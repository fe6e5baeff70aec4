"""Prompts that are nearly the given one: a colour, shape, motion or background is another's."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from videogen.shapes.captions import split_words
from videogen.shapes.phrases import (
    BACKGROUND_WORDS,
    CAMERA_WORDS,
    COLOUR_WORDS,
    MOTION_WORDS,
    SHAPE_WORDS,
)
from videogen.shapes.vocabulary import ROUND_SHAPES

Words = tuple[str, ...]


class _Place(NamedTuple):
    """Where a prompt names something: words `first` to `end - 1`, phrase `form` of the name."""

    first: int
    end: int
    kind: str
    name: str
    form: int


def swapped(prompt: str, known: Collection[str]) -> dict[str, list[str]]:
    """Prompts in which one thing is another of its kind, or two things have changed places.

    Args:
        known: words that they may hold.

    Returns:
        By kind ("colour", "shape", "motion", "background", "camera", "exchange"); all of them
        together are empty for a prompt that names nothing of the shapes' world.
    """
    words = tuple(split_words(prompt))
    places = list(_named(words))
    found: dict[str, list[str]] = {}
    for place in places:
        for name, phrases in _PHRASES[place.kind].items():
            if name == place.name or _looks_alike(place, name, places):
                continue
            kind = place.kind.split()[0]
            # Motions list their verbs in one order, so that "gliding" stays "gliding".
            as_said = kind == "motion" and place.form < len(phrases)
            phrase = phrases[place.form if as_said else 0]
            if set(phrase) <= set(known):
                found.setdefault(kind, []).append(_replaced(words, {place: phrase}))
    if exchanged := list(_exchanged(words, places)):
        found["exchange"] = exchanged
    return found


def _exchanged(words: Words, places: Sequence[_Place]) -> Iterator[str]:
    """Of two things, each with what the other has; only if they still differ in something else."""
    pairs = [
        (one, other)
        for i, one in enumerate(places)
        for other in places[i + 1 :]
        if one.kind == other.kind and one.name != other.name
    ]
    if len(pairs) < 2:
        return
    for one, other in pairs:
        parts = {one: words[other.first : other.end], other: words[one.first : one.end]}
        yield _replaced(words, parts)


def _looks_alike(place: _Place, name: str, places: Sequence[_Place]) -> bool:
    """A round shape that spins looks like one at rest."""
    is_round = any(p.kind == "shape" and p.name in ROUND_SHAPES for p in places)
    return is_round and {place.name, name} == {"spin", "still"}


def _replaced(words: Words, parts: Mapping[_Place, Words]) -> str:
    result = list(words)
    for place in sorted(parts, reverse=True):
        result[place.first : place.end] = parts[place]
    return " ".join(result)


def _named(words: Words) -> Iterator[_Place]:
    """What a prompt names, in order; the longest phrase wins."""
    table = _table()
    longest = max(map(len, table))
    first = 0
    while first < len(words):
        for length in range(longest, 0, -1):
            found = table.get(words[first : first + length])
            if found:
                yield _Place(first, first + length, *found)
                first += length
                break
        else:
            first += 1


_PHRASES: dict[str, dict[str, list[Words]]] = {
    kind: {name: [tuple(split_words(p)) for p in phrases] for name, phrases in names.items()}
    for kind, names in {
        "colour": COLOUR_WORDS,
        "shape": SHAPE_WORDS,
        "motion": {name: [ing for ing, _ in pairs] for name, pairs in MOTION_WORDS.items()},
        "motion verb": {name: [verb for _, verb in pairs] for name, pairs in MOTION_WORDS.items()},
        "background": BACKGROUND_WORDS,
        "camera": CAMERA_WORDS,
    }.items()
}


@cache
def _table() -> dict[Words, tuple[str, str, int]]:
    table: dict[Words, tuple[str, str, int]] = {}
    for kind, names in _PHRASES.items():
        for name, phrases in names.items():
            for form, phrase in enumerate(phrases):
                table.setdefault(phrase, (kind, name, form))
    return table
