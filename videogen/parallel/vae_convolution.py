"""Convolutions of a VAE that holds only some lines of the picture.

Everything else in the VAE works pixel by pixel. So a VAE whose convolutions fetch the lines beside
their own instead of padding with zeros computes its part of the whole exactly.
"""

from __future__ import annotations

import copy
from typing import Protocol, TypeVar

from torch import Tensor, nn

from videogen.models.causal_conv import CausalConv3d, StreamCache

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class Halo(Protocol):
    """Where convolutions get the lines beside their own from."""

    dim: int
    """The dim of `b c t h w` that is cut."""

    def extend(self, x: Tensor, reach: int, layer: str) -> Tensor:
        """Put `reach` lines before and after `x`: its neighbours' lines, or zeros at the border."""
        ...


class HaloConv3d(CausalConv3d):
    """A `CausalConv3d` over part of the picture."""

    halo: Halo

    def forward(self, x: Tensor, cache: StreamCache | None = None) -> Tensor:
        """Convolve this part's frames `b c t h w`; its past is carried with the lines beside it."""
        taps, *sides = self.weight.shape[2:]
        padding = [0, *(side // 2 for side in sides)]
        cut = self.halo.dim - 2
        if padding[cut]:
            x = self.halo.extend(x, padding[cut], self.name)
            padding[cut] = 0
        if taps > 1:
            x = self._with_past(x, taps, cache)
        if x.shape[self.halo.dim] < self.weight.shape[self.halo.dim]:
            return self._nothing(x, taps)
        return self._convolve(x, (padding[1], padding[2]))

    def _nothing(self, x: Tensor, taps: int) -> Tensor:
        """The result where there are too few lines for one line of it."""
        shape = list(x.shape)
        shape[1], shape[2] = len(self.weight), (shape[2] - taps) // self.stride + 1
        shape[self.halo.dim] = 0
        return x.new_empty(shape)


def share_weights(vae: AnyModule) -> AnyModule:
    """A second VAE with the same parameters in memory, whose layers can be altered freely."""
    return copy.deepcopy(vae, {id(parameter): parameter for parameter in vae.parameters()})


def set_halo(module: nn.Module, halo: Halo, kind: type[HaloConv3d] = HaloConv3d) -> None:
    """Have every convolution in `module`, which is changed, take its borders from `halo`."""
    for convolution in module.modules():
        if isinstance(convolution, CausalConv3d):
            convolution.__class__ = kind
            assert isinstance(convolution, HaloConv3d)
            convolution.halo = halo
