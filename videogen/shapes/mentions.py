"""What a text names of the shapes' world, and where: the longest known phrases in it."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from videogen.shapes.phrases import (
    BACKGROUND_WORDS,
    CAMERA_WORDS,
    COLOUR_WORDS,
    MOTION_WORDS,
    SHAPE_WORDS,
)

Words = tuple[str, ...]


class Mention(NamedTuple):
    """Words `first` to `end - 1` of a text, which are phrase `form` of PHRASES[kind][name]."""

    first: int
    end: int
    kind: str
    name: str
    form: int

    @property
    def attribute(self) -> str:
        """The kind, whichever the part of speech: "motion" for a "motion verb", too."""
        return self.kind.split()[0]


def split_words(text: str) -> list[str]:
    """Lower-case words of a text; everything but letters separates them."""
    return re.findall(r"[a-z]+", text.lower())


def mentions(words: Sequence[str]) -> Iterator[Mention]:
    """What a text of `split_words` names, in order and without overlaps.

    The longest phrase wins: "blue gradient" is no blue.
    """
    table = _table()
    longest = max(map(len, table))
    first = 0
    while first < len(words):
        for end in range(min(first + longest, len(words)), first, -1):
            if meaning := table.get(tuple(words[first:end])):
                yield Mention(first, end, *meaning)
                first = end
                break
        else:
            first += 1


def mentions_of_objects(words: Sequence[str]) -> list[list[Mention]]:
    """What a text of `split_words` names, divided where another object begins: "… and a …"."""
    divided: list[list[Mention]] = [[]]
    for mention in mentions(words):
        before = divided[-1][-1].end if divided[-1] else 0
        between = pairwise(words[before : mention.first])
        if divided[-1] and any(pair in _NEXT_OBJECT for pair in between):
            divided.append([])
        divided[-1].append(mention)
    return divided


_NEXT_OBJECT = (("and", "a"), ("and", "an"))

PHRASES: dict[str, dict[str, list[Words]]] = {
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
"""Kind -> name -> every way to say it. Phrases of "motion" and "motion verb" are pairs."""


@cache
def _table() -> dict[Words, tuple[str, str, int]]:
    table: dict[Words, tuple[str, str, int]] = {}
    for kind, names in PHRASES.items():
        for name, phrases in names.items():
            for form, phrase in enumerate(phrases):
                table.setdefault(phrase, (kind, name, form))
    return table
