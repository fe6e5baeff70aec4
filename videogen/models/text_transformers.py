"""Frozen CLIP, T5 and UMT5 text encoders, read through transformers from a local folder.

A folder holds either a transformers checkpoint with its tokenizer, or `text_encoder/` and
`tokenizer/` side by side as diffusers lays them out. Only safetensors are read, never a hub.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from videogen.errors import ConfigError, WeightsError
from videogen.models.config import TextConfig
from videogen.models.pretrained import import_transformers, load_pretrained, quiet
from videogen.models.text import TextEmbedding
from videogen.models.text_folders import (
    FAMILIES,
    Family,
    check_config,
    check_safetensors,
    check_tokenizer_files,
    find_folders,
)


def _as_it_is(prompt: str) -> str:
    return prompt


class TransformersText(nn.Module):
    """A pretrained text encoder with its tokenizer; implements `TextEncoder`.

    Every prompt is encoded alone and without padding, so its embedding does not depend on its
    neighbours or on `max_tokens`, bit for bit; padding is zeros added afterwards and masked.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        width: int,
        max_tokens: int,
        clean: Callable[[str], str] = _as_it_is,
    ) -> None:
        super().__init__()
        self.model: Any = model.eval().requires_grad_(False)
        self.clean = clean
        self.tokenizer = tokenizer
        self.width = width
        self.max_tokens = max_tokens

    def train(self, mode: bool = True) -> TransformersText:
        """Stay in evaluation mode: the encoder is frozen, dropout included."""
        return super().train(False)

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> TextEmbedding:
        """Embed prompts, each cut and padded to `max_tokens`.

        Returns:
            Tokens `b l d` in the encoder's dtype; mask `b l`; pooled `b d`, the end token's
            vector for CLIP and the mean over the prompt's tokens for T5 and UMT5.
        """
        ids, truncated = self._tokenize([self.clean(prompt) for prompt in prompts])
        outputs = [self.model(input_ids=row[None]) for row in ids]
        tokens = [output.last_hidden_state[0] for output in outputs]
        lengths = torch.tensor([len(row) for row in ids], device=ids[0].device)
        return TextEmbedding(
            tokens=torch.stack([self._padded(row) for row in tokens]),
            mask=torch.arange(self.max_tokens, device=lengths.device) < lengths[:, None],
            pooled=torch.stack([_pooled(output) for output in outputs]),
            truncated=truncated,
        )

    @torch.no_grad()
    def encode_with_padding(self, prompt: str) -> Tensor:
        """Tokens `1 max_tokens d` of a prompt that the encoder is given with its padding.

        What stands at the padding depends on the prompt; some models were trained to see it.
        """
        said = self.tokenizer(
            self.clean(prompt),
            padding="max_length",
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        ).to(next(self.model.parameters()).device)
        outputs = self.model(input_ids=said["input_ids"], attention_mask=said["attention_mask"])
        return outputs.last_hidden_state

    def _tokenize(self, prompts: Sequence[str]) -> tuple[list[Tensor], tuple[bool, ...]]:
        device = next(self.model.parameters()).device
        whole = [self.tokenizer(prompt, verbose=False)["input_ids"] for prompt in prompts]
        truncated = tuple(len(row) > self.max_tokens for row in whole)
        ids = [
            self.tokenizer(prompt, truncation=True, max_length=self.max_tokens)["input_ids"]
            for prompt in prompts
        ]
        return [torch.tensor(row, device=device) for row in ids], truncated

    def _padded(self, tokens: Tensor) -> Tensor:
        return functional.pad(tokens, (0, 0, 0, self.max_tokens - len(tokens)))


def _pooled(output: Any) -> Tensor:
    """One vector `d` of an encoder's output for a single prompt."""
    pooled = output.get("pooler_output")
    return output.last_hidden_state[0].mean(0) if pooled is None else pooled[0]


def load_text_encoder(
    config: TextConfig,
    folder: str | Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    clean: Callable[[str], str] = _as_it_is,
) -> TransformersText:
    """Read a clip, t5 or umt5 encoder, as `config.kind` says, from a local folder.

    Args:
        clean: what is done to every prompt before it is cut into tokens.

    Raises:
        MissingDependencyError: transformers is not installed.
        ConfigError: the kind is unknown, or `width` or `max_tokens` are not the encoder's.
        WeightsError: files are missing, of another architecture, incomplete, or pickles only.
    """
    family = FAMILIES[config.kind]
    encoder, tokenizer = find_folders(Path(folder))
    check_config(encoder, config.kind, family)
    check_safetensors(encoder)
    check_tokenizer_files(tokenizer, family)
    transformers = import_transformers()
    model = load_pretrained(family, encoder, dtype)
    with quiet(transformers):
        words = _load_tokenizer(transformers, family, tokenizer)
    _check_sizes(config, model, family, encoder)
    if len(words) > model.config.vocab_size:
        raise WeightsError(
            f"{tokenizer}: got a tokenizer of {len(words)} tokens, expected at most the "
            f"{model.config.vocab_size} of {encoder}. Fix: use the tokenizer of that encoder."
        )
    return TransformersText(model.to(device), words, config.width, config.max_tokens, clean)


def _check_sizes(config: TextConfig, model: Any, family: Family, folder: Path) -> None:
    width = getattr(model.config, family.width_field)
    if config.width != width:
        raise ConfigError(f"text.width: got {config.width}, expected {width}, that of {folder}.")
    longest = getattr(model.config, family.length_field) if family.length_field else None
    fits = longest is None or config.max_tokens <= longest
    if config.max_tokens <= family.tokens_at_ends or not fits:
        limit = "" if longest is None else f" and at most {longest}, the encoder's positions"
        raise ConfigError(
            f"text.max_tokens: got {config.max_tokens}, "
            f"expected more than {family.tokens_at_ends}{limit}."
        )


def _load_tokenizer(transformers: Any, family: Family, folder: Path) -> Any:
    try:
        return getattr(transformers, family.tokenizer).from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
        raise WeightsError(
            f"{folder}: {family.tokenizer} cannot be read: {error}. Fix: give a folder with "
            "tokenizer.json (transformers' save_pretrained writes it)."
        ) from error
