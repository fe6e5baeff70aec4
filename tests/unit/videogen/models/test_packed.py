from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from videogen.models.accelerate import accelerate, can_pack
from videogen.models.packed import PackedLinear
from videogen.models.sublayers import FeedForward

pytestmark = pytest.mark.skipif(not can_pack(), reason="this torch has no oneDNN")


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 6)
        self.blocks = nn.ModuleList([FeedForward(6, 10), nn.Linear(6, 6, bias=False)])

    def forward(self, x):
        for layer in (self.head, *self.blocks):
            x = layer(x)
        return x


def test_a_packed_layer_is_the_layer():
    layer, x = nn.Linear(12, 20), torch.randn(2, 3, 5, 12).transpose(1, 2)
    packed = PackedLinear(layer)
    with torch.no_grad():
        torch.testing.assert_close(packed(x), layer(x))
        for approximate in ("tanh", "none"):
            expected = F.gelu(layer(x), approximate=approximate)
            torch.testing.assert_close(packed(x, approximate), expected)
    assert packed(x[:, :0]).shape == (2, 0, 3, 20)
    assert copy.deepcopy(packed) is packed


def test_blocks_are_packed_and_nothing_else():
    model = Tiny().requires_grad_(False)
    x = torch.randn(4, 6)
    expected = model(x)
    accelerate(model)
    assert [type(module).__name__ for module in model.modules()].count("PackedLinear") == 3
    assert type(model.head) is nn.Linear
    torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("change", [lambda m: m, lambda m: m.requires_grad_(False).bfloat16()])
def test_what_is_trained_or_in_half_precision_stays(change):
    model = change(Tiny())
    accelerate(model)
    assert not any(isinstance(module, PackedLinear) for module in model.modules())
