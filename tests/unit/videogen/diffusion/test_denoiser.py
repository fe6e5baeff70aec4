from __future__ import annotations

import pytest
import torch

from videogen.diffusion.denoiser import as_denoiser
from videogen.diffusion.process import RectifiedFlow, VariancePreserving
from videogen.diffusion.schedules import linear_betas, vp_sigmas

VP = VariancePreserving.from_betas(linear_betas())
FLOW = RectifiedFlow()


class Spy:
    """A model that answers with a constant and remembers how it was called."""

    def __call__(self, latents, timesteps, **conditioning):
        self.latents, self.timesteps, self.conditioning = latents, timesteps, conditioning
        return torch.full_like(latents, 2.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_flow_model_is_told_a_thousand_sigmas_per_frame(dtype):
    spy, x = Spy(), torch.ones(2, 3, 4, 5, 6, dtype=dtype)
    denoised = as_denoiser(spy, FLOW, "flow")(x, torch.tensor(0.5, dtype=torch.float64))
    assert spy.timesteps.shape == (2, 4)
    assert spy.timesteps.dtype == torch.float32
    assert spy.timesteps.unique().tolist() == [500.0]
    assert denoised.dtype == dtype
    assert denoised.unique().tolist() == [0.0]


def test_a_variance_preserving_model_is_told_integer_timesteps():
    spy, x = Spy(), torch.ones(1, 3, 4, 5, 6)
    denoise = as_denoiser(spy, VP, "epsilon")
    told = []
    for sigma in vp_sigmas(VP, 4, "leading")[:-1]:
        denoise(x, sigma)
        told.append(spy.timesteps.unique().item())
    assert told == [750, 500, 250, 0]


def test_frames_may_have_their_own_level():
    spy, x = Spy(), torch.ones(1, 3, 2, 5, 6)
    denoised = as_denoiser(spy, FLOW, "flow")(x, torch.tensor([[0.0, 0.25]]))
    assert spy.timesteps.tolist() == [[0.0, 250.0]]
    assert denoised[0, 0, :, 0, 0].tolist() == [1.0, 0.5]


def test_conditioning_reaches_the_model():
    spy, x = Spy(), torch.ones(1, 3, 2, 5, 6)
    denoised = as_denoiser(spy, FLOW, "x0", text="a red circle")(x, torch.tensor(0.5))
    assert spy.conditioning == {"text": "a red circle"}
    assert spy.latents is x
    assert denoised.unique().tolist() == [2.0]
