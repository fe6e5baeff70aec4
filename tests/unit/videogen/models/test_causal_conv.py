"""Causal convolution against the plain one, and with its past carried."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videogen.models.causal_conv import CausalConv3d, name_convolutions


def test_is_a_plain_convolution_of_a_clip_whose_first_frame_repeats() -> None:
    conv = CausalConv3d(3, 5, (3, 3, 3))
    x = torch.randn(2, 3, 4, 6, 6)
    past = x[:, :, :1].repeat(1, 1, 2, 1, 1)
    expected = F.conv3d(torch.cat([past, x], 2), conv.weight, conv.bias, padding=(0, 1, 1))
    torch.testing.assert_close(conv(x), expected)


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_carried_past_gives_the_whole(cut: int) -> None:
    conv = CausalConv3d(2, 2, (3, 1, 1))
    x = torch.randn(1, 2, 6, 3, 3)
    cache: dict[str, Tensor] = {}
    parts = [conv(part, cache) for part in (x[:, :, :cut], x[:, :, cut:])]
    torch.testing.assert_close(torch.cat(parts, 2), conv(x))


def test_stride_two_keeps_the_first_frame_alone() -> None:
    conv = CausalConv3d(2, 2, (3, 1, 1), stride=2)
    x = torch.randn(1, 2, 9, 3, 3)
    assert conv(x).shape[2] == 5
    torch.testing.assert_close(conv(x)[:, :, :1], conv(x[:, :, :1]))
    cache: dict[str, Tensor] = {}
    parts = [conv(part, cache) for part in (x[:, :, :5], x[:, :, 5:])]
    torch.testing.assert_close(torch.cat(parts, 2), conv(x))


def test_every_layer_has_its_own_entry() -> None:
    model = nn.Sequential(CausalConv3d(2, 2, (3, 1, 1)), CausalConv3d(2, 2, (3, 1, 1)))
    name_convolutions(model)
    cache: dict[str, Tensor] = {}
    x = torch.randn(1, 2, 2, 3, 3)
    for layer in model:
        x = layer(x, cache)
    assert set(cache) == {"0", "1"}
