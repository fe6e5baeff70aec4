"""Which noise levels a model is sampled at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from videogen.diffusion.objectives import Objective
from videogen.diffusion.process import NoisePath, RectifiedFlow, VariancePreserving
from videogen.diffusion.published import Schedule, read_schedule
from videogen.diffusion.schedules import flow_sigmas, linear_betas, vp_sigmas
from videogen.models.protocol import ClipSpec
from videogen.models.published_spec import PublishedSpec
from videogen.models.spec import ModelSpec


@dataclass(frozen=True)
class OwnSchedule:
    """That of models trained here: a rectified flow, or the linear betas of DDPM."""

    prediction: Objective
    path: NoisePath
    sampler: Literal["euler", "ddim"]

    def sigmas(self, num_inference_steps: int, flow_shift: float | None = None) -> Tensor:
        if isinstance(self.path, VariancePreserving):
            return vp_sigmas(self.path, num_inference_steps)
        return flow_sigmas(num_inference_steps, 1.0 if flow_shift is None else flow_shift)


def schedule_of(spec: ClipSpec) -> Schedule:
    """The schedule of a model.

    Raises:
        ConfigError: that of a published model is not supported.
    """
    if isinstance(spec, PublishedSpec):
        return read_schedule(spec.scheduler, f"{spec.folder}/scheduler")
    assert isinstance(spec, ModelSpec), "every other model was trained here"
    if spec.prediction == "flow":
        return OwnSchedule("flow", RectifiedFlow(), "euler")
    path = VariancePreserving.from_betas(linear_betas())
    return OwnSchedule(spec.prediction, path, "ddim")
