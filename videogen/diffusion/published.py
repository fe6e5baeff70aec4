"""What the `scheduler_config.json` of a published model means: its path, its sigmas, its sampler.

Only what the models here are published with is read; a setting that would change the result and is
not supported is an error, never left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from videogen.diffusion.objectives import Objective
from videogen.diffusion.process import NoisePath, RectifiedFlow, VariancePreserving
from videogen.diffusion.schedules import BETAS, flow_sigmas, shift_sigmas, vp_sigmas
from videogen.errors import ConfigError
from videogen.registry import Registry

NEARLY_ONE = 1 - 1e-6
"""Where UniPC starts in the reference, which divides by the signal at its first step."""


class Schedule(Protocol):
    """How a model wants to be sampled."""

    @property
    def path(self) -> NoisePath: ...

    @property
    def prediction(self) -> Objective: ...

    @property
    def sampler(self) -> str:
        """The solver its scheduler stands for; any other works as well."""
        ...

    def sigmas(self, num_inference_steps: int, flow_shift: float | None = None) -> Tensor:
        """Falling sigmas, float64, `num_inference_steps + 1` values ending in 0.

        Args:
            flow_shift: replaces the schedule's own; without effect where there is no flow.
        """
        ...


@dataclass(frozen=True)
class FlowSchedule:
    """Of rectified flows: evenly spaced sigmas, shifted towards noise."""

    sampler: str
    flow_shift: float
    path: RectifiedFlow
    prediction: Objective = "flow"

    def sigmas(self, num_inference_steps: int, flow_shift: float | None = None) -> Tensor:
        shift = self.flow_shift if flow_shift is None else flow_shift
        lowest = 1 / self.path.num_train_timesteps
        match self.sampler:
            case "unipc":
                sigmas = flow_sigmas(num_inference_steps, shift, sigma_min=lowest)
                return sigmas.clamp(max=NEARLY_ONE)
            case "dpmpp_2m":
                return flow_sigmas(num_inference_steps, shift, sigma_max=1 - lowest)
            case _:
                return _with_lowest_level(num_inference_steps, shift, lowest)


def _with_lowest_level(num_inference_steps: int, shift: float, lowest: float) -> Tensor:
    """The least noisy level of training is the last step, shifted twice."""
    twice = float(shift_sigmas(torch.tensor(lowest, dtype=torch.float64), shift))
    # Aim so far below that the step before the end stands there.
    stretch = num_inference_steps / max(1, num_inference_steps - 1)
    return flow_sigmas(num_inference_steps, shift, sigma_min=1 - (1 - twice) * stretch)


@dataclass(frozen=True)
class DiffusionSchedule:
    """Of variance-preserving models: sigmas at chosen timesteps of training."""

    sampler: str
    path: VariancePreserving
    prediction: Objective
    timestep_spacing: str
    steps_offset: int
    ends_in_first_level: bool
    """Whether the last step ends at the least noisy level of training, not at the data."""

    def sigmas(self, num_inference_steps: int, flow_shift: float | None = None) -> Tensor:
        sigmas = vp_sigmas(self.path, num_inference_steps, self.timestep_spacing, self.steps_offset)
        if not self.ends_in_first_level:
            return sigmas
        first = self.path.sigmas[:1]
        # A step from that level to itself would change nothing.
        return torch.cat([sigmas[:-1][sigmas[:-1] > first], first])


def read_schedule(config: Mapping[str, Any], source: str) -> Schedule:
    """The schedule that a scheduler's configuration stands for.

    Args:
        config: the content of `scheduler_config.json`.
        source: what errors name, usually the file.

    Raises:
        ConfigError: another class of scheduler, or a setting that is not supported.
    """
    name = str(config.get("_class_name"))
    if name not in READERS:
        raise ConfigError(
            f"{source}: _class_name: got '{name}', expected one of {', '.join(READERS)}. "
            "Fix: write the configuration of one of these."
        )
    return READERS[name](config, source)


def _read_multistep(config: Mapping[str, Any], source: str) -> Schedule:
    _require(
        config,
        source,
        {
            "use_flow_sigmas": (True,),
            "prediction_type": ("flow_prediction",),
            "solver_order": (2, None),
            "solver_type": ("bh2", "midpoint", None),
            "algorithm_type": ("dpmsolver++", None),
            "predict_x0": (True, None),
            "final_sigmas_type": ("zero", None),
            "lower_order_final": (True, None),
            "disable_corrector": ([], None),
            **_EVEN,
        },
    )
    is_unipc = config["_class_name"] == "UniPCMultistepScheduler"
    steps = int(config.get("num_train_timesteps", 1000))
    return FlowSchedule(
        sampler="unipc" if is_unipc else "dpmpp_2m",
        flow_shift=float(config.get("flow_shift", 1.0)),
        path=RectifiedFlow(steps, whole_timesteps=True),
    )


def _read_euler(config: Mapping[str, Any], source: str) -> Schedule:
    odd = {"invert_sigmas": (False, None), "stochastic_sampling": (False, None)}
    _require(config, source, {**_EVEN, **odd})
    return FlowSchedule(
        sampler="euler",
        flow_shift=float(config.get("shift", 1.0)),
        path=RectifiedFlow(int(config.get("num_train_timesteps", 1000))),
    )


def _read_ddim(config: Mapping[str, Any], source: str) -> Schedule:
    _require(
        config,
        source,
        {
            "clip_sample": (False,),
            "thresholding": (False, None),
            "trained_betas": (None,),
            "rescale_betas_zero_snr": (False, None),
            "prediction_type": (*_PREDICTIONS, None),
            "beta_schedule": (*_BETA_NAMES, None),
            "timestep_spacing": ("leading", "trailing", "linspace", None),
        },
    )
    prediction: Objective = _PREDICTIONS[config.get("prediction_type") or "epsilon"]
    return DiffusionSchedule(
        sampler="ddpm" if config["_class_name"] == "DDPMScheduler" else "ddim",
        path=VariancePreserving.from_betas(_betas(config)),
        prediction=prediction,
        timestep_spacing=config.get("timestep_spacing") or "leading",
        steps_offset=int(config.get("steps_offset", 0)),
        ends_in_first_level=not config.get("set_alpha_to_one", True),
    )


def _betas(config: Mapping[str, Any]) -> Tensor:
    num_timesteps = int(config.get("num_train_timesteps", 1000))
    kind = _BETA_NAMES[config.get("beta_schedule") or "linear"]
    if kind == "cosine":
        return BETAS[kind](num_timesteps)
    ends = (float(config.get(name, of)) for name, of in (("beta_start", 1e-4), ("beta_end", 0.02)))
    return BETAS[kind](num_timesteps, *ends)


_PREDICTIONS: dict[str, Literal["epsilon", "v", "x0"]] = {
    "epsilon": "epsilon",
    "v_prediction": "v",
    "sample": "x0",
}
_BETA_NAMES = {"linear": "linear", "scaled_linear": "scaled_linear", "squaredcos_cap_v2": "cosine"}
_EVEN: dict[str, tuple[Any, ...]] = {
    "use_karras_sigmas": (False, None),
    "use_exponential_sigmas": (False, None),
    "use_beta_sigmas": (False, None),
    "use_dynamic_shifting": (False, None),
    "thresholding": (False, None),
    "shift_terminal": (None,),
}


def _require(config: Mapping[str, Any], source: str, legal: Mapping[str, tuple[Any, ...]]) -> None:
    """Raise where a setting has a value that would change the result and is not supported."""
    for name, values in legal.items():
        if config.get(name) not in values:
            said = " or ".join(str(value) for value in values if value is not None) or "none"
            raise ConfigError(
                f"{source}: {name}: got {config.get(name)!r}, expected {said}. "
                "Fix: change it, or choose a sampler of this package in a run's configuration."
            )


READERS: Registry[Any] = Registry(
    "scheduler",
    {
        "UniPCMultistepScheduler": _read_multistep,
        "DPMSolverMultistepScheduler": _read_multistep,
        "FlowMatchEulerDiscreteScheduler": _read_euler,
        "DDIMScheduler": _read_ddim,
        "DDPMScheduler": _read_ddim,
    },
)
