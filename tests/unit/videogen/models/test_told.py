from __future__ import annotations

import pytest
import torch

from videogen.models.attention import attention, attention_to_counted
from videogen.models.text import TextEmbedding
from videogen.models.told import PROMPTS_KEPT, Prompts, folded


def embedding(lengths: list[int], length: int, seed: int = 0) -> TextEmbedding:
    tokens = torch.randn(len(lengths), length, 6, generator=torch.Generator().manual_seed(seed))
    mask = torch.arange(length) < torch.tensor(lengths)[:, None]
    return TextEmbedding(tokens * mask[..., None], mask, tokens[:, 0])


def test_counted_keys_are_keys_repeated():
    q, k, v = (torch.randn(2, 3, length, 8) for length in (5, 4, 4))
    counts = torch.tensor([1.0, 1.0, 1.0, 7.0])
    repeats = counts.long()
    expected = attention(
        q, k.repeat_interleave(repeats, dim=2), v.repeat_interleave(repeats, dim=2)
    )
    torch.testing.assert_close(attention_to_counted(q, k, v, counts), expected)


def test_padding_stands_once():
    tokens, counts = folded(embedding([3, 5], 16))
    assert tokens.shape == (2, 6, 6)
    assert counts is not None
    assert counts.tolist() == [1, 1, 1, 1, 1, 11]
    assert not tokens[:, 5].any()


@pytest.mark.parametrize("lengths", [[16], [15]])
def test_without_padding_nothing_is_folded(lengths):
    tokens, counts = folded(embedding(lengths, 16))
    assert counts is None
    assert tokens.shape[1] == 16


def test_padding_that_says_something_is_not_folded():
    text = embedding([3], 16)
    text.tokens[0, 9] = 1.0
    assert folded(text)[1] is None


@torch.no_grad()
def test_a_prompt_is_projected_once_and_few_are_kept():
    prompts, calls = Prompts(), []

    def project(tokens):
        calls.append(len(tokens))
        return tokens * 2

    text = embedding([3], 8)
    layer = torch.nn.Identity()
    told = prompts.tell(text, project, folds=True)
    first = told.keys_and_values(layer, lambda x: (x, x))
    again = prompts.tell(text, project, folds=True)
    assert again is told
    assert again.keys_and_values(layer, lambda x: (x + 1, x)) is first
    assert len(calls) == 1
    for seed in range(PROMPTS_KEPT):
        prompts.tell(embedding([3], 8, seed + 1), project, folds=True)
    assert prompts.tell(text, project, folds=True) is not told


def test_nothing_is_kept_while_something_is_trained():
    prompts, text = Prompts(), embedding([3], 8)
    first, second = (prompts.tell(text, torch.clone, folds=True) for _ in range(2))
    assert first is not second
    assert first.tokens.shape[1] == 8
