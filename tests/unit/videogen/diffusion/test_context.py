"""Known frames around those that are denoised, each at its own level."""

from __future__ import annotations

import torch
from torch import Tensor

from videogen.diffusion.context import between


def test_the_model_sees_known_frames_at_their_level_and_answers_for_the_others() -> None:
    seen: dict[str, Tensor] = {}

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        seen.update(x=x, sigma=sigma)
        return x + 1

    before, x, after = (torch.randn(2, 3, t, 4, 4) for t in (2, 3, 1))
    wrapped = between(denoiser, before, after, torch.tensor(0.1))
    result = wrapped(x, torch.tensor(0.7, dtype=torch.float64))
    assert torch.equal(result, x + 1)
    assert torch.equal(seen["x"], torch.cat([before, x, after], dim=2))
    expected = torch.tensor([0.1, 0.1, 0.7, 0.7, 0.7, 0.1]).expand(2, 6)
    torch.testing.assert_close(seen["sigma"], expected)


def test_half_precision_stays_half_precision() -> None:
    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        return x * sigma[:, None, :, None, None]

    x = torch.ones(1, 2, 2, 2, 2, dtype=torch.bfloat16)
    result = between(denoiser, x, x[:, :, :0], torch.tensor(0.1))(x, torch.tensor(0.5))
    assert result.dtype == torch.bfloat16
