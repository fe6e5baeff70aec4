"""Modules that live in the memory of the CPU and visit a GPU while they are used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from videogen.models.text import PairEncoder, TextEmbedding, encode_pair


class Visitor:
    """A module on the CPU; visits within visits do not move it again."""

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        """Bring `module` to the CPU, from where it visits `device`."""
        self._module, self._device = module.to("cpu"), device
        self._depth = 0

    @contextmanager
    def visit(self) -> Iterator[None]:
        """The module is on the device within."""
        if self._depth == 0:
            self._module.to(self._device)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._module.to("cpu")


class VisitingText:
    """A text encoder that visits a device for each prompt; implements `TextEncoder`."""

    def __init__(self, encoder: Any, device: torch.device) -> None:
        self._encoder, self._visitor = encoder, Visitor(encoder, device)
        self.width, self.max_tokens = encoder.width, encoder.max_tokens

    def encode(self, prompts: Sequence[str]) -> TextEmbedding:
        """Encode prompts on the device."""
        with self._visitor.visit():
            return self._encoder.encode(prompts)


class VisitingPairs(VisitingText):
    """The same of an encoder that is a `PairEncoder`, and is one as well."""

    def encode_pair(self, prompt: str, negative: str) -> tuple[TextEmbedding, TextEmbedding]:
        """Encode both prompts of guidance on the device."""
        with self._visitor.visit():
            return encode_pair(self._encoder, prompt, negative)


def visiting(encoder: Any, device: torch.device) -> VisitingText:
    """An encoder that lives on the CPU from now on."""
    kind = VisitingPairs if isinstance(encoder, PairEncoder) else VisitingText
    return kind(encoder, device)
