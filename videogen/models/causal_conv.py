"""Causal 3D convolution whose past can be carried from chunk to chunk.

A `StreamCache` maps each layer's name to the input frames the next chunk still needs. With it,
a clip decoded in chunks equals the clip decoded at once; without it, the clip starts at frame 0,
whose past is the frame itself repeated.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videogen.models.winograd import convolve, is_worthwhile

StreamCache = dict[str, Tensor]


class CausalConv3d(nn.Module):
    """Convolution over `b c t h w` that sees only present and past frames.

    Args:
        kernel: taps along t, h, w; h and w are odd and padded with zeros to keep the size.
        stride: stride along time (1 or 2).
    """

    name: str = ""
    saves_products: bool = False
    """Whether to use Winograd's method where it pays; sums are then rounded otherwise."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: tuple[int, int, int], stride: int = 1
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, *kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.stride = stride
        nn.init.normal_(self.weight, std=(in_channels * kernel[0] * kernel[1] * kernel[2]) ** -0.5)

    def forward(self, x: Tensor, cache: StreamCache | None = None) -> Tensor:
        """Convolve frames `b c t h w`; reads and replaces this layer's entry in `cache`."""
        taps, rows, columns = self.weight.shape[2:]
        if taps > 1:
            x = self._with_past(x, taps, cache)
        return self._convolve(x, (rows // 2, columns // 2))

    def _convolve(self, x: Tensor, padding: tuple[int, int]) -> Tensor:
        """Convolve frames that have their past already."""
        if self.saves_products and self.stride == 1 and is_worthwhile(x, self.weight):
            return convolve(x, self.weight, self.bias, padding)
        return F.conv3d(x, self.weight, self.bias, (self.stride, 1, 1), (0, *padding))

    def _with_past(self, x: Tensor, taps: int, cache: StreamCache | None) -> Tensor:
        past = None if cache is None else cache.get(self.name)
        if past is None:
            past = self._before_the_first(x, taps)
        x = torch.cat([past, x], dim=2)
        if cache is not None:
            cache[self.name] = x[:, :, x.shape[2] - (taps - self.stride) :].clone()
        return x

    def _before_the_first(self, x: Tensor, taps: int) -> Tensor:
        """What stands before the first frame of a clip."""
        return x[:, :, :1].expand(-1, -1, taps - 1, -1, -1)


def name_convolutions(model: nn.Module) -> None:
    """Give every `CausalConv3d` of `model` its qualified name as key into the `StreamCache`."""
    for name, module in model.named_modules():
        if isinstance(module, CausalConv3d):
            module.name = name
