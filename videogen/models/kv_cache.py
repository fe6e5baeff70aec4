"""What temporal attention has seen: keys and values of frames before, so none is computed twice.

Only layers that attend across frames keep anything; spatial attention sees its own frame alone.
Keys are kept without their place in time and rotated when they are used, so that the first frames
(the sink; Xiao et al. 2309.17453) can stand right before the window of the latest ones, however
long the clip: places stay within what the model was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class LayerCache:
    """Keys (not rotated) and values of one layer, `s n t k`, t frames."""

    keys: Tensor | None = None
    values: Tensor | None = None

    def extended(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Those kept, then those of the frames at hand."""
        if self.keys is None or self.values is None:
            return keys, values
        return torch.cat([self.keys, keys], dim=2), torch.cat([self.values, values], dim=2)


@dataclass
class KVCache:
    """The caches of all temporal layers of a model, for one prompt.

    Attributes:
        sink: first frames that are never forgotten.
        window: latest frames beside them.
        is_writing: whether the next forward's frames are kept.
    """

    depth: int
    sink: int
    window: int
    is_writing: bool = False
    layers: list[LayerCache] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.layers = self.layers or [LayerCache() for _ in range(self.depth)]

    @property
    def num_frames(self) -> int:
        """Frames kept."""
        keys = self.layers[0].keys
        return 0 if keys is None else keys.shape[2]

    def keep(self, layer: LayerCache, keys: Tensor, values: Tensor) -> None:
        """Replace what a layer keeps by the sink and the latest frames of these."""
        layer.keys, layer.values = (self._kept(x) for x in (keys, values))

    def _kept(self, x: Tensor) -> Tensor:
        if x.shape[2] <= self.sink + self.window:
            return x
        return torch.cat([x[:, :, : self.sink], x[:, :, x.shape[2] - self.window :]], dim=2)

    def tensors(self) -> dict[str, Tensor]:
        """All that is kept, by name; `restored` takes it back."""
        found = {}
        for index, layer in enumerate(self.layers):
            if layer.keys is not None and layer.values is not None:
                found |= {f"{index}/keys": layer.keys, f"{index}/values": layer.values}
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `tensors` gave."""
        for index, layer in enumerate(self.layers):
            if f"{index}/keys" in tensors:
                layer.keys, layer.values = tensors[f"{index}/keys"], tensors[f"{index}/values"]


@dataclass(frozen=True)
class Past:
    """A layer's cache as its attention needs it for one forward."""

    cache: KVCache
    layer: LayerCache
    angles: Tensor
    """RoPE angles `t s k` of all frames, those kept and then those at hand."""

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of all frames; those at hand are kept where the cache is writing."""
        keys, values = self.layer.extended(keys, values)
        if self.cache.is_writing:
            self.cache.keep(self.layer, keys, values)
        return keys, values
