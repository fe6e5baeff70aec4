"""Prompts as vectors: the text encoder protocol, and the small word-level encoder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from videogen.models.attention import attention
from videogen.models.config import TextConfig

PAD, START, UNKNOWN = 0, 1, 2
NUM_SPECIAL = 3
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class TextEmbedding:
    """Encoded prompts: `tokens` `b l d`, `mask` `b l` (True = a token), `pooled` `b d`.

    `truncated` says for each prompt whether words were cut off at the encoder's limit.
    """

    tokens: Tensor
    mask: Tensor
    pooled: Tensor
    truncated: tuple[bool, ...] = ()


class TextEncoder(Protocol):
    """Anything that turns prompts into a `TextEmbedding` of width `width`."""

    width: int
    max_tokens: int

    def encode(self, prompts: Sequence[str]) -> TextEmbedding:
        """Encode prompts; the empty prompt is the unconditional one."""
        ...


@runtime_checkable
class PairEncoder(Protocol):
    """An encoder for which the unconditional prompt depends on the conditional one."""

    def encode_pair(self, prompt: str, negative: str) -> tuple[TextEmbedding, TextEmbedding]:
        """Encode what a clip is to show and what it is not to show."""
        ...


def encode_pair(
    encoder: TextEncoder, prompt: str, negative: str
) -> tuple[TextEmbedding, TextEmbedding]:
    """Encode the two prompts of classifier-free guidance, each of batch 1."""
    if isinstance(encoder, PairEncoder):
        return encoder.encode_pair(prompt, negative)
    return encoder.encode([prompt]), encoder.encode([negative])


def split_words(prompt: str) -> list[str]:
    """The lower-case words of a prompt, without punctuation and numbers."""
    return _WORD.findall(prompt.lower())


def padded(text: TextEmbedding, length: int) -> TextEmbedding:
    """The same prompts, padded to `length` tokens."""
    more = length - text.mask.shape[1]
    tokens, mask = F.pad(text.tokens, (0, 0, 0, more)), F.pad(text.mask, (0, more))
    return replace(text, tokens=tokens, mask=mask)


class WordEncoder(nn.Module):
    """A small transformer over whole words; words it does not know share one token."""

    def __init__(self, config: TextConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        self.max_tokens = config.max_tokens
        self.vocabulary = tuple(vocabulary)
        self._ids = {word: NUM_SPECIAL + i for i, word in enumerate(self.vocabulary)}
        self.words = nn.Embedding(NUM_SPECIAL + len(self.vocabulary), config.width)
        self.places = nn.Embedding(config.max_tokens, config.width)
        self.layers = nn.ModuleList(_TextBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)

    def encode(self, prompts: Sequence[str]) -> TextEmbedding:
        """Encode prompts, padded to the longest of them; `pooled` is the start token."""
        rows = [self._tokenise(prompt) for prompt in prompts]
        truncated = tuple(len(row) > self.max_tokens for row in rows)
        rows = [row[: self.max_tokens] for row in rows]
        length = max(len(row) for row in rows)
        padded = [row + [PAD] * (length - len(row)) for row in rows]
        device = self.words.weight.device
        ids = torch.tensor(padded, device=device)
        mask = ids != PAD
        x = self.words(ids) + self.places(torch.arange(length, device=device))
        for layer in self.layers:
            x = layer(x, mask)
        x = self.norm(x)
        return TextEmbedding(tokens=x, mask=mask, pooled=x[:, 0], truncated=truncated)

    def unknown_words(self, prompt: str) -> list[str]:
        """The words of a prompt that mean nothing to this encoder, in order, without repeats."""
        return list(dict.fromkeys(w for w in split_words(prompt) if w not in self._ids))

    def _tokenise(self, prompt: str) -> list[int]:
        return [START, *(self._ids.get(word, UNKNOWN) for word in split_words(prompt))]


class _TextBlock(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        d = config.width
        self.num_heads = config.num_heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.rise, self.fall = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (
            rearrange(part, "b l (n k) -> b n l k", n=self.num_heads)
            for part in self.qkv(self.attention_norm(x)).chunk(3, dim=-1)
        )
        mixed = attention(q, k, v, mask[:, None, None, :])
        x = x + self.out(rearrange(mixed, "b n l k -> b l (n k)"))
        return x + self.fall(F.gelu(self.rise(self.mlp_norm(x)), approximate="tanh"))
