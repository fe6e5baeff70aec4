"""What words of a caption are to know: all that it says of the object that they speak of.

A word of one object that already knows the object's other attributes spares the DiT a search
through the prompt: "square" alone says that it is the blue one, and that it moves up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from videogen.shapes.mentions import mentions_of_objects, split_words
from videogen.shapes.vocabulary import COLOURS, MOTIONS, SHAPES
from videogen.training.prompts import UNKNOWN_WORD
from videogen.training.scene_maps import NAMES

FIRST_WORD = 1
"""The token of a text's first word; before it is the start token."""
_OF_OBJECTS = ("shape", "colour", "motion")


def word_meanings(captions: Sequence[str], num_tokens: int) -> Tensor:
    """What is to be known where, as rows (caption, token, place in `NAMES`), int64 `k 3`.

    Words that name a shape, colour or motion are to know all that is named of the same object.
    Captions with unknown words are left out, since those may have torn phrases apart.

    Args:
        num_tokens: of the longest text that is encoded; words behind are left out.
    """
    rows = [
        (number, FIRST_WORD + place, name)
        for number, caption in enumerate(captions)
        for place, name in _known_by_words(split_words(caption))
        if FIRST_WORD + place < num_tokens
    ]
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)


def word_errors(logits: Tensor, meanings: Tensor) -> Tensor:
    """Cross-entropies `k` of shapes among shapes, colours among colours, motions among motions.

    Args:
        logits: read off the tokens of texts, `b l n`, `n` as in `NAMES`.
        meanings: from `word_meanings`, on the same device.
    """
    kinds = logits.float().split([len(SHAPES), len(COLOURS), len(MOTIONS)], dim=-1)
    likelihoods = torch.cat([F.log_softmax(kind, dim=-1) for kind in kinds], dim=-1)
    return -likelihoods[tuple(meanings.unbind(dim=1))]


def _known_by_words(words: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Pairs of a word's place and a name's."""
    if UNKNOWN_WORD in words:
        return
    for part in mentions_of_objects(words):
        said = [mention for mention in part if mention.attribute in _OF_OBJECTS]
        names = [NAMES.index(mention.name) for mention in said]
        for mention in said:
            for place in range(mention.first, mention.end):
                yield from ((place, name) for name in names)
