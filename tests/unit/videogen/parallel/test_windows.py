"""Windows cut out of the keys are masks over all of them."""

from __future__ import annotations

import pytest
import torch

from videogen.models.attention import attention
from videogen.parallel.windows import Window, attention_in_windows, find_windows


def make_mask(t: int, reach: int, causal: bool) -> torch.Tensor:
    frame = torch.arange(t)
    distance = frame[:, None] - frame[None]
    mask = distance.abs() <= reach
    return mask & (distance >= 0) if causal else mask


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("reach", [0, 1, 3, 9])
def test_windows_are_the_mask(reach: int, causal: bool) -> None:
    t, s = 5, 3
    mask = make_mask(t, reach, causal)
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 2, t * s, 4, generator=generator) for _ in range(3))
    of_tokens = mask.repeat_interleave(s, 0).repeat_interleave(s, 1)
    found = attention_in_windows(q, k, v, find_windows(mask), s, "sdpa")
    torch.testing.assert_close(found, attention(q, k, v, of_tokens))


def test_frames_that_see_the_same_are_one_window() -> None:
    assert find_windows(make_mask(4, 9, causal=False)) == [Window(0, 4, 0, 4)]
    assert find_windows(make_mask(3, 1, causal=False)) == [
        Window(0, 1, 0, 2),
        Window(1, 2, 0, 3),
        Window(2, 3, 1, 3),
    ]
