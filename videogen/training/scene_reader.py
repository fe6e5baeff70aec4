"""A DiT and a text encoder that also say what is where, and what is said of which object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from videogen.models.config import DiTConfig
from videogen.models.text import WordEncoder
from videogen.training.denoising import Prompted
from videogen.training.scene_maps import LAYERS, NAMES


class Reading(NamedTuple):
    """Beside the noise.

    Attributes:
        maps: what `patches_of_maps` gives of the clean clips.
        words: logits for `word_errors`, `b l n`.
    """

    maps: Tensor
    words: Tensor


class SceneReader(Prompted):
    """Reads, linearly, maps off the normed tokens behind one block, and names off the words.

    Args:
        after: number of that block, from 1.
    """

    def __init__(
        self,
        dit: nn.Module,
        text: WordEncoder,
        config: DiTConfig,
        *,
        after: int,
        num_tokens: int | None,
    ) -> None:
        super().__init__(dit, text, trains_text=True, num_tokens=num_tokens)
        _, p, q = config.patch
        self.map_reader = nn.Linear(config.width, p * q * len(LAYERS))
        self.word_reader = nn.Linear(text.width, len(NAMES))
        for linear in (self.map_reader, self.word_reader):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        self._after = after

    def forward(
        self, noisy: Tensor, timesteps: Tensor, prompts: Sequence[str]
    ) -> tuple[Tensor, Reading]:
        """The prediction, and what is read."""
        tokens: list[Tensor] = []
        told: Any = self.told(prompts)
        prediction = self.dit(noisy, timesteps, text=told, observe=lambda _, x: tokens.append(x))
        seen = tokens[self._after - 1]
        maps = self.map_reader(F.layer_norm(seen, seen.shape[-1:]))
        return prediction, Reading(maps, self.word_reader(told.tokens))


def patches_of_maps(maps: Tensor, config: DiTConfig) -> Tensor:
    """Maps `b t h w n` as a DiT has them in tokens, `b t s (cells n)`."""
    _, p, q = config.patch
    return rearrange(maps, "b t (h p) (w q) n -> b t (h w) (p q n)", p=p, q=q)


def map_errors(read: Tensor, maps: Tensor) -> Tensor:
    """Squared errors summed over layers, of each frame: `b t` from two `b t s (cells n)`."""
    return (read.float() - maps).square().mean(dim=(2, 3)) * len(LAYERS)
