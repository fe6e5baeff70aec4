"""Prompts as Latte was trained with: no padding, and a negative prompt as long as the prompt."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from videogen.models.text import TextEmbedding
from videogen.models.text_transformers import TransformersText


class LatteText(nn.Module):
    """A T5 encoder whose embeddings end with the prompt; implements `TextEncoder`."""

    def __init__(self, encoder: TransformersText) -> None:
        super().__init__()
        self.encoder = encoder
        self.width, self.max_tokens = encoder.width, encoder.max_tokens

    def encode(self, prompts: Sequence[str]) -> TextEmbedding:
        """Encode prompts, cut to the longest of them."""
        said = self.encoder.encode(prompts)
        longest = int(said.mask.sum(1).max())
        return TextEmbedding(
            said.tokens[:, :longest], said.mask[:, :longest], said.pooled, said.truncated
        )

    def encode_pair(self, prompt: str, negative: str) -> tuple[TextEmbedding, TextEmbedding]:
        """Encode a prompt, and a negative one cut to the prompt's length or padded to it."""
        positive = self.encode([prompt])
        tokens = self.encoder.encode_with_padding(negative)[:, : positive.tokens.shape[1]]
        return positive, TextEmbedding(tokens, _everything(tokens), tokens.mean(1))


def _everything(tokens: Tensor) -> Tensor:
    return torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)


def clean_prompt(prompt: str) -> str:
    """A prompt as the text encoder was trained with: lower case, no space around it."""
    return prompt.lower().strip()
