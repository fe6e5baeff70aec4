"""What a transformer is told by a prompt, computed once for all denoising steps of a clip.

A prompt's projections are the same in every step, so are the keys and values that each block makes
of them. And where a model was trained to see the padding of prompts (Wan), all of it is one and
the same vector: it stands once here, counted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from videogen.models.text import TextEmbedding

KeysAndValues = tuple[Tensor, Tensor]
PROMPTS_KEPT = 4
"""Both halves of guidance, and a change of prompts."""


@dataclass(frozen=True, eq=False)
class Told:
    """A prompt as a transformer's blocks attend to it."""

    tokens: Tensor
    """`b l d`, projected to the width of the model."""
    counts: Tensor | None = None
    """`l`: how many equal tokens each stands for; None: one each."""
    keeps: bool = False
    """Whether keys and values are kept from step to step."""
    kept: dict[nn.Module, KeysAndValues] = field(default_factory=dict)

    def keys_and_values(
        self, layer: nn.Module, make: Callable[[Tensor], KeysAndValues]
    ) -> KeysAndValues:
        """What `make` makes of the tokens for a layer, now or before."""
        if not self.keeps:
            return make(self.tokens)
        if layer not in self.kept:
            self.kept[layer] = make(self.tokens)
        return self.kept[layer]


class Prompts:
    """The prompts told last; used while nothing is trained, else each is computed anew."""

    def __init__(self) -> None:
        self.keeps = True
        """Whether keys and values are kept; they are kept in a dictionary."""
        self._last: OrderedDict[int, tuple[TextEmbedding, Told]] = OrderedDict()

    def tell(self, text: TextEmbedding, project: Callable[[Tensor], Tensor], folds: bool) -> Told:
        """A prompt, as `project` projects its tokens.

        Args:
            folds: whether tokens that the mask leaves out are attended to as well, and may be
                counted where they are all alike.
        """
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return Told(project(text.tokens))
        key = id(text.tokens)
        if key not in self._last:  # the entry keeps the tokens alive, so ids stay unique
            tokens, counts = folded(text) if folds else (text.tokens, None)
            self._last[key] = text, Told(project(tokens), counts, self.keeps)
        self._last.move_to_end(key)
        while len(self._last) > PROMPTS_KEPT:
            self._last.popitem(last=False)
        return self._last[key][1]

    def __deepcopy__(self, memo: dict[int, object]) -> Prompts:
        return Prompts()


def folded(text: TextEmbedding) -> tuple[Tensor, Tensor | None]:
    """The tokens of prompts `b l d` with what pads all of them standing once, and the counts."""
    length, longest = text.mask.shape[1], int(text.mask.sum(1).max())
    padding = text.tokens[:, longest:]
    is_prefix = bool(text.mask[:, :longest].any(0).all())
    if length - longest < 2 or not is_prefix or bool((padding != 0).any()):
        return text.tokens, None
    counts = torch.ones(longest + 1, device=text.tokens.device)
    counts[-1] = length - longest
    return text.tokens[:, : longest + 1], counts
