from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from videogen.models import winograd


@pytest.mark.parametrize("taps", [1, 3])
@pytest.mark.parametrize("padding", [(1, 1), (0, 1), (1, 0)])
@pytest.mark.parametrize("strip_bytes", [0, 2**20])
@pytest.mark.parametrize(("h", "w"), [(8, 6), (7, 9), (3, 3)])
def test_it_is_a_convolution(monkeypatch, taps, padding, strip_bytes, h, w):
    monkeypatch.setattr(winograd, "STRIP_BYTES", strip_bytes)
    monkeypatch.setattr(winograd, "STRIPS_PER_WEIGHTS", 0 if strip_bytes == 0 else 2)
    x = torch.randn(2, 5, taps + 1, h, w, dtype=torch.float64)
    weight, bias = torch.randn(7, 5, taps, 3, 3).double(), torch.randn(7).double()
    for shift in (bias, None):
        expected = F.conv3d(x, weight, shift, 1, (0, *padding))
        torch.testing.assert_close(winograd.convolve(x, weight, shift, padding), expected)


def test_pictures():
    x, weight, bias = torch.randn(3, 5, 7, 6), torch.randn(4, 5, 3, 3), torch.randn(4)
    expected = F.conv2d(x, weight, bias, padding=1)
    torch.testing.assert_close(
        winograd.convolve_pictures(x, weight, bias), expected, atol=1e-4, rtol=1e-4
    )


def test_rounding_is_that_of_a_convolution():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 64, 3, 20, 20, generator=generator)
    weight = torch.randn(64, 64, 3, 3, 3, generator=generator)
    exact = F.conv3d(x.double(), weight.double(), None, 1, (0, 1, 1))
    errors = [
        float((found.double() - exact).abs().max() / exact.abs().max())
        for found in (
            winograd.convolve(x, weight, None),
            F.conv3d(x, weight, None, 1, (0, 1, 1)),
        )
    ]
    assert errors[0] < 2e-6
    assert errors[0] < 20 * errors[1]


def test_where_it_is_used():
    x, weight = torch.zeros(1, 32, 3, 4, 4), torch.zeros(32, 32, 3, 3, 3)
    assert not winograd.is_worthwhile(x, weight), "gradients"
    with torch.no_grad():
        assert winograd.is_worthwhile(x, weight)
        assert not winograd.is_worthwhile(x, torch.zeros(3, 32, 3, 3, 3))
        assert not winograd.is_worthwhile(x, torch.zeros(32, 32, 3, 1, 1))
        assert not winograd.is_worthwhile(x.bfloat16(), weight.bfloat16())
