"""The teacher of a few-step model: guided clips, with the states on their way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from videogen.diffusion.process import RectifiedFlow, add_noise
from videogen.diffusion.schedules import flow_sigmas
from videogen.errors import ConfigError
from videogen.models.weights import Model
from videogen.training.denoising import attention
from videogen.training.distill_config import DistillConfig
from videogen.training.pool_file import digest_of

FLOW = RectifiedFlow()
# What models that recommend nothing are sampled with; `videogen.defaults` needs pydantic.
USUAL: dict[str, Any] = {
    "guidance_scale": 3.0,
    "flow_shift": 1.0,
    "context_noise": 0.1,
    "height": 64,
    "width": 64,
}


@dataclass(frozen=True)
class Start:
    """Windows before any step.

    Attributes:
        known: frames that are given, as latents `b c t h w`; zeros elsewhere.
        is_known: bool `b t`.
        guidance: scale of each window, `b`.
    """

    prompts: list[str]
    known: Tensor
    is_known: Tensor
    guidance: Tensor

    def part(self, places: slice) -> Start:
        """Some of them."""
        return Start(**{name: values[places] for name, values in vars(self).items()})


@dataclass(frozen=True)
class Teacher:
    """A model and how it is sampled."""

    model: Model
    sigmas: Tensor
    """Of all its steps, float64, n + 1 values ending in 0."""
    stops: Tensor
    """Of the steps after which a state is kept, the first and the last among them."""
    guidance: float
    context_guidance: float
    """Of windows that go on from known frames."""
    context_noise: float
    latent_size: tuple[int, int, int]
    """Channels, height and width of the latents of its clips."""
    autocast: bool

    @classmethod
    def of(cls, config: DistillConfig, model: Model) -> Teacher:
        """With the guidance, flow shift and size that the model recommends.

        Raises:
            ConfigError: the model is no rectified flow.
        """
        own = USUAL | model.spec.sampling
        if model.spec.prediction != "flow":
            raise ConfigError(
                f"model: got '{config.model}', which predicts {model.spec.prediction}, expected a "
                "rectified flow. Fix: distil a model with prediction: flow."
            )
        sigmas = flow_sigmas(config.teacher_steps, own["flow_shift"])
        context = own.get("context_guidance")
        c, _, h, w = model.spec.latent_shape(1, own["height"], own["width"])
        return cls(
            model=model,
            sigmas=sigmas,
            stops=sigmas[:: config.teacher_steps // config.num_inference_steps],
            guidance=own["guidance_scale"],
            context_guidance=own["guidance_scale"] if context is None else context,
            context_noise=own["context_noise"],
            latent_size=(c, h, w),
            autocast=config.autocast,
        )

    @property
    def digest(self) -> str:
        """32 hex digits over the model and the parts of its way that students learn."""
        return digest_of(self.model.spec.digest, self.sigmas.tolist(), self.stops.tolist())

    @property
    def device(self) -> torch.device:
        return next(self.model.dit.parameters()).device

    @torch.inference_mode()
    def walk(self, start: Start, noise: Tensor) -> Tensor:
        """Euler steps from noise (Karras et al. 2206.00364, algorithm 1), all windows at once.

        Args:
            noise: standard normal, `b c t h w`.

        Returns:
            float16 states at `stops`, `b k c t h w`; known frames are lightly noised in all.
        """
        device, given = self.device, start.is_known[:, None, :, None, None].to(self.device)
        noise, known = noise.to(device), start.known.to(device)
        x = torch.where(given, add_noise(FLOW, known, noise, self._context_sigma()), noise)
        texts = [self.model.text.encode(p) for p in (start.prompts, [""] * len(x))]
        scales = start.guidance.to(x)[:, None, None, None, None]
        states = [x.half().cpu()]
        for now, then in zip(self.sigmas[:-1].tolist(), self.sigmas[1:].tolist(), strict=True):
            levels = self.levels(torch.full((len(x),), now), start.is_known)
            bfloat16 = torch.autocast(device.type, torch.bfloat16, enabled=self.autocast)
            with attention(device), bfloat16:
                halves = [self.model.dit(x, FLOW.timestep(levels), text) for text in texts]
            positive, negative = (half.float() for half in halves)
            velocity = torch.lerp(negative, positive, scales)
            x = torch.where(given, x, x + (then - now) * velocity)
            if bool((self.stops == then).any()):
                states.append(x.half().cpu())
        return torch.stack(states, dim=1)

    def levels(self, sigmas: Tensor, is_known: Tensor) -> Tensor:
        """The level of each frame `b t` of windows that stand at `sigmas`, `b`."""
        levels = torch.where(is_known, self._context_sigma(), sigmas[:, None].float())
        return levels.to(self.device)

    def _context_sigma(self) -> Tensor:
        return torch.tensor(self.context_noise)
