"""Prompts that are nearly the given one: a colour, shape, motion or background is another's."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from videogen.shapes.mentions import PHRASES, Mention, Words, mentions, split_words
from videogen.shapes.vocabulary import ROUND_SHAPES


def swapped(prompt: str, known: Collection[str]) -> dict[str, list[str]]:
    """Prompts in which one thing is another of its kind, or two things have changed places.

    Args:
        known: words that they may hold.

    Returns:
        By kind ("colour", "shape", "motion", "background", "camera", "exchange"); all of them
        together are empty for a prompt that names nothing of the shapes' world.
    """
    words = tuple(split_words(prompt))
    places = list(mentions(words))
    found: dict[str, list[str]] = {}
    for place in places:
        for name, phrases in PHRASES[place.kind].items():
            if name == place.name or _looks_alike(place, name, places):
                continue
            # Motions list their verbs in one order, so that "gliding" stays "gliding".
            as_said = place.attribute == "motion" and place.form < len(phrases)
            phrase = phrases[place.form if as_said else 0]
            if set(phrase) <= set(known):
                found.setdefault(place.attribute, []).append(_replaced(words, {place: phrase}))
    if exchanged := list(_exchanged(words, places)):
        found["exchange"] = exchanged
    return found


def _exchanged(words: Words, places: Sequence[Mention]) -> Iterator[str]:
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


def _looks_alike(place: Mention, name: str, places: Sequence[Mention]) -> bool:
    """A round shape that spins looks like one at rest."""
    is_round = any(p.kind == "shape" and p.name in ROUND_SHAPES for p in places)
    return is_round and {place.name, name} == {"spin", "still"}


def _replaced(words: Words, parts: Mapping[Mention, Words]) -> str:
    result = list(words)
    for place in sorted(parts, reverse=True):
        result[place.first : place.end] = parts[place]
    return " ".join(result)
