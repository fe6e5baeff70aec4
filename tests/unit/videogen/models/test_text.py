"""The word encoder: what it knows, what it does with the rest, and padding."""

from __future__ import annotations

import torch

from videogen.models.config import TextConfig
from videogen.models.text import WordEncoder, split_words

CONFIG = TextConfig(width=8, depth=2, num_heads=2, max_tokens=6)


def make_encoder() -> WordEncoder:
    torch.manual_seed(0)
    return WordEncoder(CONFIG, ["circle", "red"]).requires_grad_(False)


def test_splits_words_without_case_punctuation_or_numbers() -> None:
    assert split_words("A RED circle, moving up-left (2x)!") == [
        "a", "red", "circle", "moving", "up", "left", "x",
    ]  # fmt: skip


def test_neighbours_and_padding_change_nothing() -> None:
    encoder = make_encoder()
    alone = encoder.encode(["red circle"])
    together = encoder.encode(["red circle", "red red red red"])
    assert together.mask.tolist()[0] == [True, True, True, False, False]
    torch.testing.assert_close(together.tokens[:1, :3], alone.tokens)
    torch.testing.assert_close(together.pooled[:1], alone.pooled)


def test_the_empty_prompt_is_one_token() -> None:
    assert make_encoder().encode([""]).mask.tolist() == [[True]]


def test_unknown_words_are_one_word_and_are_named() -> None:
    encoder = make_encoder()
    assert torch.equal(encoder.encode(["red dog"]).tokens, encoder.encode(["red cat"]).tokens)
    assert not torch.equal(encoder.encode(["red"]).pooled, encoder.encode(["circle"]).pooled)
    assert encoder.unknown_words("A red dog and a dog") == ["a", "dog", "and"]


def test_long_prompts_are_cut_and_say_so() -> None:
    embedding = make_encoder().encode(["red " * 9, "red"])
    assert embedding.truncated == (True, False)
    assert embedding.tokens.shape[1] == CONFIG.max_tokens


def test_order_matters() -> None:
    encoder = make_encoder()
    assert not torch.allclose(
        encoder.encode(["red circle"]).pooled, encoder.encode(["circle red"]).pooled
    )
