"""New words for a word-level text encoder, so that a model can learn what they mean."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from videogen.models.text import NUM_SPECIAL, UNKNOWN, WordEncoder, split_words

SPREAD = 0.02
"""Standard deviation of what tells new words apart at first."""


def with_words_of(text: WordEncoder, captions: Iterable[str]) -> WordEncoder:
    """An encoder that knows the words of `captions` as well; prompts without them mean the same.

    A new word starts as the unknown one, a little off it.
    """
    said = {word for caption in captions for word in split_words(caption)}
    new = sorted(said - set(text.vocabulary))
    if not new:
        return text
    larger = WordEncoder(text.config, (*text.vocabulary, *new)).to(text.words.weight)
    state = text.state_dict()
    words = state.pop("words.weight")
    generator = torch.Generator().manual_seed(len(words))
    off = SPREAD * torch.randn(len(new), words.shape[1], generator=generator).to(words)
    state["words.weight"] = torch.cat([words, words[UNKNOWN] + off])
    larger.load_state_dict(state)
    assert len(larger.words.weight) == NUM_SPECIAL + len(larger.vocabulary)
    return larger
