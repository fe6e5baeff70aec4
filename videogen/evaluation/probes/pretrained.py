"""Likeness of frames to the one before, the first and the prompt, by a network's vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from videogen.evaluation.window import Window

if TYPE_CHECKING:
    from torch import Tensor

    from videogen.evaluation.backends.encoders import FrameEncoder


class PretrainedProbe:
    """Encodes every frame by itself, so portions and batches change nothing."""

    delay_lags = 0

    def __init__(self, encoder: FrameEncoder, prompt: str | None) -> None:
        kind = encoder.kind
        self.columns = (f"{kind}_previous", f"{kind}_first", f"{kind}_text")
        self._encoder = encoder
        self._text = encoder.text(prompt) if prompt and encoder.tokenizer else None
        self._first: Tensor | None = None
        self._previous: Tensor | None = None

    def measure(self, window: Window) -> Mapping[str, float]:
        vector = self._encoder.frame(window.now.native)
        previous, first, text = self.columns
        row = {} if self._text is None else {text: float(self._text @ vector)}
        if self._previous is not None and self._first is not None:
            row[previous] = float(self._previous @ vector)
            row[first] = float(self._first @ vector)
        self._previous = vector
        self._first = self._first if self._first is not None else vector
        return row

    def conclude(self) -> Mapping[str, Any]:
        """`weights.<kind>`: where the numbers come from."""
        facts = {"sha256": self._encoder.sha256, "published": self._encoder.published}
        return {f"weights.{self._encoder.kind}": facts}
