"""Every solver against the diffusers scheduler of its name: every model input of every step.

The schedulers keep their tables, and some their samples, in float32, which alone is worth 1e-5 at
the sigmas of a DDPM schedule. So that 1e-6 can hold honestly, each scheduler's module is shown a
`torch` and a `numpy` whose `float32` is `float64`; its arithmetic is untouched. The toy model
answers with predictions, so the conversion to x0 of either side is compared as well.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from videogen.diffusion.objectives import Objective, to_denoised
from videogen.diffusion.process import NoisePath, RectifiedFlow, VariancePreserving
from videogen.diffusion.schedules import BETAS, flow_sigmas, karras_sigmas, linear_betas, vp_sigmas
from videogen.diffusion.solvers import SOLVERS

schedulers = pytest.importorskip("diffusers.schedulers")
pytestmark = [
    pytest.mark.parity,
    # numpy's, about how diffusers copies tensors
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

TOLERANCE = 1e-6
NUM_STEPS = [1, 2, 3, 8, 20, 50]
SHAPE = (2, 4, 3, 4, 5)
VP = VariancePreserving.from_betas(linear_betas())
FLOW = RectifiedFlow()
DIFFUSERS_NAME: dict[Objective, str] = {
    "epsilon": "epsilon",
    "v": "v_prediction",
    "x0": "sample",
    "flow": "flow_prediction",
}
MULTISTEP = {"dpmpp_2m": "DPMSolverMultistepScheduler", "unipc": "UniPCMultistepScheduler"}


class InDouble:
    """`torch` or `numpy`, with float64 under the name float32."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self.float32 = module.float64

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


@pytest.fixture
def build(monkeypatch):
    """Make a scheduler that computes in float64 and starts at its first step."""

    def make(name: str, num_steps: int, **config: Any) -> Any:
        kind = getattr(schedulers, name)
        module = __import__(kind.__module__, fromlist=["torch"])
        monkeypatch.setattr(module, "torch", InDouble(torch))
        monkeypatch.setattr(module, "np", InDouble(np))
        scheduler = kind(**config)
        scheduler.set_timesteps(num_steps)
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(0)
        return scheduler

    return make


def vp_config(objective: Objective, spacing: str = "leading") -> dict[str, Any]:
    return {
        "beta_schedule": "linear",
        "beta_start": 1e-4,
        "beta_end": 0.02,
        "prediction_type": DIFFUSERS_NAME[objective],
        "timestep_spacing": spacing,
    }


def flow_config(shift: float) -> dict[str, Any]:
    return {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": shift}


def toy_model(x: Tensor, sigma: Tensor) -> Tensor:
    """A prediction that is nonlinear in x, mixes its elements and depends on sigma."""
    return torch.tanh(0.7 * x.roll(1, -1) - 0.4 * x) + 0.2 * torch.sin(3 * x + sigma) + 0.3 * x


def start() -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def noise(step: int) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(step), dtype=torch.float64)


def our_trace(
    sampler: str, sigmas: Tensor, path: NoisePath, objective: Objective, eta: float = 0.0
) -> list[Tensor]:
    """What the model saw at every evaluation, and the result."""
    trace = []

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        trace.append(x)
        return to_denoised(toy_model(x, sigma), x, sigma, path, objective)

    end = SOLVERS[sampler](denoiser, start(), sigmas, path=path, noise=noise, eta=eta)
    return [*trace, end]


def their_trace(
    scheduler: Any, evaluation_sigmas: Tensor, variance_exploding: bool = False, **options: Any
) -> list[Tensor]:
    """The same of a scheduler; `variance_exploding` ones keep x scaled by sqrt(1 + sigma^2)."""
    trace, x = [], start()
    if variance_exploding:
        x = x * (1 + evaluation_sigmas[0] ** 2).sqrt()
    for index, timestep in enumerate(scheduler.timesteps):
        seen = scheduler.scale_model_input(x, timestep) if variance_exploding else x
        trace.append(seen)
        prediction = toy_model(seen, evaluation_sigmas[index])
        extra = {
            name: value(index) if callable(value) else value for name, value in options.items()
        }
        x = scheduler.step(prediction, timestep, x, return_dict=False, **extra)[0]
    assert x.dtype == torch.float64
    return [*trace, x]


def assert_equal(ours: list[Tensor], theirs: list[Tensor]) -> None:
    assert len(ours) == len(theirs)
    differences = [(a - b).abs().max().item() for a, b in zip(ours, theirs, strict=True)]
    assert max(differences) <= TOLERANCE, differences


def seeded(step: int) -> torch.Generator:
    return torch.Generator().manual_seed(step)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("objective", ["epsilon", "v", "x0"])
@pytest.mark.parametrize("num_steps", NUM_STEPS)
def test_ddpm(build, num_steps, objective, spacing):
    scheduler = build(
        "DDPMScheduler", num_steps, clip_sample=False, **vp_config(objective, spacing)
    )
    sigmas = VP.sigmas[scheduler.timesteps]
    ours = our_trace("ddpm", torch.cat([sigmas, torch.zeros(1)]), VP, objective)
    assert_equal(ours, their_trace(scheduler, sigmas, generator=seeded))


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("objective", ["epsilon", "v", "x0"])
@pytest.mark.parametrize("num_steps", NUM_STEPS)
def test_ddim(build, num_steps, objective, eta):
    scheduler = build("DDIMScheduler", num_steps, clip_sample=False, **vp_config(objective))
    sigmas = vp_sigmas(VP, num_steps, "leading")
    ours = our_trace("ddim", sigmas, VP, objective, eta)
    options: dict[str, Any] = {"eta": eta, "variance_noise": noise} if eta else {}
    assert_equal(ours, their_trace(scheduler, sigmas, **options))


@pytest.mark.parametrize("objective", ["epsilon", "v", "x0"])
@pytest.mark.parametrize("num_steps", NUM_STEPS)
def test_euler_on_a_variance_preserving_path(build, num_steps, objective):
    scheduler = build("EulerDiscreteScheduler", num_steps, **vp_config(objective, "trailing"))
    ours = our_trace("euler", scheduler.sigmas, VP, objective)
    assert_equal(ours, their_trace(scheduler, scheduler.sigmas, variance_exploding=True))


@pytest.mark.parametrize("objective", ["epsilon", "v"])
@pytest.mark.parametrize("num_steps", NUM_STEPS)
def test_heun_on_a_variance_preserving_path(build, num_steps, objective):
    scheduler = build("HeunDiscreteScheduler", num_steps, **vp_config(objective, "trailing"))
    ours = our_trace("heun", scheduler.sigmas.unique_consecutive(), VP, objective)
    sigmas = as_evaluated_by_heun(scheduler.sigmas)
    assert_equal(ours, their_trace(scheduler, sigmas, variance_exploding=True))


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "unipc"])
@pytest.mark.parametrize("objective", ["epsilon", "v", "x0"])
@pytest.mark.parametrize("num_steps", NUM_STEPS)
@pytest.mark.parametrize("karras", [False, True])
def test_multistep_on_a_variance_preserving_path(build, num_steps, objective, sampler, karras):
    config = vp_config(objective, "trailing") | {"use_karras_sigmas": karras}
    scheduler = build(MULTISTEP[sampler], num_steps, **config)
    ours = our_trace(sampler, scheduler.sigmas, VP, objective)
    assert_equal(ours, their_trace(scheduler, scheduler.sigmas))


@pytest.mark.parametrize("shift", [1.0, 5.0])
@pytest.mark.parametrize("num_steps", NUM_STEPS)
def test_euler_on_a_flow(build, num_steps, shift):
    scheduler = build("FlowMatchEulerDiscreteScheduler", num_steps, shift=shift)
    ours = our_trace("euler", scheduler.sigmas, FLOW, "flow")
    assert_equal(ours, their_trace(scheduler, scheduler.sigmas))


@pytest.mark.parametrize("shift", [1.0, 5.0])
@pytest.mark.parametrize("num_steps", NUM_STEPS)
def test_lcm_on_a_flow(build, num_steps, shift):
    scheduler = build("FlowMatchLCMScheduler", num_steps, shift=shift)
    ours = our_trace("lcm", scheduler.sigmas, FLOW, "flow")
    assert_equal(ours, their_trace(scheduler, scheduler.sigmas, generator=seeded))


@pytest.mark.parametrize("shift", [1.0, 5.0])
@pytest.mark.parametrize("num_steps", NUM_STEPS)
def test_heun_on_a_flow(build, num_steps, shift):
    scheduler = build("FlowMatchHeunDiscreteScheduler", num_steps, shift=shift)
    ours = our_trace("heun", scheduler.sigmas.unique_consecutive(), FLOW, "flow")
    assert_equal(ours, their_trace(scheduler, as_evaluated_by_heun(scheduler.sigmas)))


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "unipc"])
@pytest.mark.parametrize("shift", [1.0, 5.0])
@pytest.mark.parametrize("num_steps", NUM_STEPS)
def test_multistep_on_a_flow(build, num_steps, shift, sampler):
    scheduler = build(MULTISTEP[sampler], num_steps, **flow_config(shift))
    ours = our_trace(sampler, scheduler.sigmas, FLOW, "flow")
    assert_equal(ours, their_trace(scheduler, scheduler.sigmas))


def as_evaluated_by_heun(sigmas: Tensor) -> Tensor:
    """Sigma of each of the 2n - 1 evaluations: start, then end and start of every inner step."""
    levels = sigmas.unique_consecutive()[:-1]
    return torch.cat([levels[:1], levels[1:].repeat_interleave(2)])


def test_the_comparison_can_fail():
    sigmas = flow_sigmas(8, shift=3.0)
    ends = [our_trace(sampler, sigmas, FLOW, "flow", eta=0.5)[-1] for sampler in SOLVERS]
    names = list(SOLVERS)
    for (a, x), (b, y) in itertools.combinations(zip(names, ends, strict=True), 2):
        assert (x - y).abs().max() > 1e3 * TOLERANCE, f"{a} cannot be told from {b}"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("linear", "linear"), ("scaled_linear", "scaled_linear"), ("cosine", "squaredcos_cap_v2")],
)
def test_betas(build, ours, theirs):
    scheduler = build("DDIMScheduler", 10, beta_schedule=theirs)
    betas = BETAS[ours](first=1e-4, last=0.02) if ours != "cosine" else BETAS[ours]()
    torch.testing.assert_close(betas, scheduler.betas, rtol=0, atol=1e-12)
    alpha_bars = VariancePreserving.from_betas(betas).alpha_bars
    torch.testing.assert_close(alpha_bars, scheduler.alphas_cumprod, rtol=0, atol=1e-12)


@pytest.mark.parametrize("spacing", ["leading", "linspace"])
def test_timestep_spacings(build, spacing):
    for num_steps in range(1, 120):
        scheduler = build("DDIMScheduler", num_steps, timestep_spacing=spacing)
        sigmas = vp_sigmas(VP, num_steps, spacing)
        assert torch.equal(VP.timestep(sigmas[:-1]).long(), scheduler.timesteps)


def test_trailing_timesteps():
    """Equal where the reference is right.

    It counts down in floating point, so it makes 62 timesteps when asked for 61, and rounds exact
    halves either way.
    """
    for num_steps in set(range(1, 120)) - {61, 103}:
        scheduler = schedulers.DDIMScheduler(timestep_spacing="trailing")
        scheduler.set_timesteps(num_steps)
        ours = VP.timestep(vp_sigmas(VP, num_steps, "trailing")[:-1]).long()
        is_half = torch.arange(num_steps) * 2000 % (2 * num_steps) == num_steps
        assert torch.equal(ours[~is_half], scheduler.timesteps[~is_half])
        assert (ours - scheduler.timesteps).abs().max() <= 1


@pytest.mark.parametrize("num_steps", NUM_STEPS[1:])
def test_karras_sigmas(build, num_steps):
    scheduler = build(
        "EulerDiscreteScheduler",
        num_steps,
        use_karras_sigmas=True,
        **vp_config("epsilon", "linspace"),
    )
    sigmas = karras_sigmas(num_steps, VP.sigmas[0].item(), VP.sigmas[-1].item())
    torch.testing.assert_close(sigmas, scheduler.sigmas, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("num_steps", NUM_STEPS)
@pytest.mark.parametrize("shift", [1.0, 5.0])
def test_flow_sigmas(build, num_steps, shift):
    solver = build("DPMSolverMultistepScheduler", num_steps, **flow_config(shift))
    ours = flow_sigmas(num_steps, shift, sigma_max=0.999)
    torch.testing.assert_close(ours, solver.sigmas, rtol=0, atol=1e-12)
    unipc = build("UniPCMultistepScheduler", num_steps, **flow_config(shift))
    ours = flow_sigmas(num_steps, shift, sigma_min=0.001)
    # It backs away from sigma = 1 by 1e-6, where its matrix would hold an infinity.
    torch.testing.assert_close(ours, unipc.sigmas, rtol=0, atol=1.01e-6)
    assert (ours - unipc.sigmas).abs()[1:].max() < 1e-12
