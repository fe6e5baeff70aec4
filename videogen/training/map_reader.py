"""Read what is where off the tokens of a block, as a second thing that a DiT learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from videogen.models.config import DiTConfig
from videogen.training.denoising import Prompted
from videogen.training.scene_maps import NAMES


class MapReader(Prompted):
    """A DiT whose normed tokens behind one block are read, linearly, as maps of the scene.

    Args:
        after: number of that block, from 1.
    """

    def __init__(
        self, dit: nn.Module, text: Any, config: DiTConfig, *, after: int, num_tokens: int | None
    ) -> None:
        super().__init__(dit, text, trains_text=True, num_tokens=num_tokens)
        _, p, q = config.patch
        self.reader = nn.Linear(config.width, p * q * len(NAMES))
        nn.init.zeros_(self.reader.weight)
        nn.init.zeros_(self.reader.bias)
        self._after = after

    def forward(
        self, noisy: Tensor, timesteps: Tensor, prompts: Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        """The prediction, and what `patches_of_maps` gives of the clean clips."""
        tokens: list[Tensor] = []
        prediction = self.dit(
            noisy, timesteps, text=self.told(prompts), observe=lambda _, x: tokens.append(x)
        )
        seen = tokens[self._after - 1]
        return prediction, self.reader(F.layer_norm(seen, seen.shape[-1:]))


def patches_of_maps(maps: Tensor, config: DiTConfig) -> Tensor:
    """Maps `b t h w n` as a DiT has them in tokens, `b t s (cells n)`."""
    _, p, q = config.patch
    return rearrange(maps, "b t (h p) (w q) n -> b t (h w) (p q n)", p=p, q=q)


def map_errors(read: Tensor, maps: Tensor) -> Tensor:
    """Squared errors summed over names, of each frame: `b t` from two `b t s (cells n)`."""
    return (read.float() - maps).square().mean(dim=(2, 3)) * len(NAMES)
