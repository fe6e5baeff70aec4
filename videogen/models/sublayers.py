"""Parts that published transformers share, in the names of their state dicts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videogen.models.packed import Gelu, PackedLinear


def through_gelu(layer: nn.Module, x: Tensor, approximate: Gelu) -> Tensor:
    """A linear layer and a GELU; in one, where the layer knows how."""
    if isinstance(layer, PackedLinear):
        return layer(x, approximate)
    return F.gelu(layer(x), approximate=approximate)


class Projection(nn.Module):
    """A linear layer and a GELU, in the place that published layouts call `proj`."""

    def __init__(self, in_width: int, out_width: int, approximate: Gelu = "tanh") -> None:
        super().__init__()
        self.proj = nn.Linear(in_width, out_width)
        self.approximate: Gelu = approximate

    def forward(self, x: Tensor) -> Tensor:
        return through_gelu(self.proj, x, self.approximate)


class FeedForward(nn.Module):
    """Two linear layers around a GELU; `net.1` is the place of a dropout without weights."""

    def __init__(
        self, width: int, inner: int, out_width: int | None = None, approximate: Gelu = "tanh"
    ) -> None:
        super().__init__()
        rise = Projection(width, inner, approximate)
        self.net = nn.ModuleList([rise, nn.Identity(), nn.Linear(inner, out_width or width)])

    def forward(self, x: Tensor) -> Tensor:
        return self.net[2](self.net[0](x))


class TimeMLP(nn.Module):
    """Two linear layers around a SiLU."""

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(in_width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(x)))


class TextProjection(nn.Module):
    """Two linear layers around a GELU."""

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(in_width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(F.gelu(self.linear_1(x), approximate="tanh"))


def modulated(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """Layer norm of tokens `b t s d`, scaled and shifted by `b t 1 d`, in the dtype of `x`."""
    normed = F.layer_norm(x.float(), x.shape[-1:], eps=eps)
    return torch.addcmul(shift, normed, 1 + scale).to(x.dtype)
