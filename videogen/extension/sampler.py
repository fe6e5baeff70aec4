"""`LatentSampler`: denoises stretches of one clip's latents, whatever is known beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from videogen.diffusion.denoiser import Denoiser, as_denoiser
from videogen.diffusion.guidance import Halves, interval_sigmas, with_guidance
from videogen.diffusion.process import NoisePath
from videogen.diffusion.published import Schedule
from videogen.diffusion.solvers import SOLVERS
from videogen.errors import NonFiniteError
from videogen.extension.prompts import PromptSchedule
from videogen.extension.schedule import schedule_of
from videogen.models.protocol import VideoModel
from videogen.models.published_spec import PublishedSpec
from videogen.models.step_cache import StepMemory, remembering
from videogen.models.text import TextEmbedding, encode_pair
from videogen.models.variant import StepCache
from videogen.requests import ClipRequest
from videogen.seeds import frame_noise

OnStep = Callable[[int, int], None]
Wrap = Callable[[Denoiser], Denoiser]
# Computes tensors of one shape, in any order and anywhere; all of them come back, in order.
Spread = Callable[[Sequence[Callable[[], Tensor]]], list[Tensor]]


def in_turn(tasks: Sequence[Callable[[], Tensor]]) -> list[Tensor]:
    """Compute one after the other, here."""
    return [task() for task in tasks]


@dataclass(frozen=True)
class LatentSampler:
    """One model and one request."""

    model: VideoModel
    request: ClipRequest
    device: torch.device
    halves: Halves
    spread: Spread = in_turn
    given: Mapping[str, Any] = field(default_factory=dict)
    """What the model is given beside the text, whatever is denoised."""
    step_cache: StepCache | None = None
    """How work of earlier steps is used again, of a model that it is installed in."""
    picture: np.ndarray | None = None
    """What a clip of chained chunks starts from, uint8 `h w c`."""
    vae_visits: Callable[[], AbstractContextManager[None]] = nullcontext
    """The VAE is on the device within one."""
    vae_dtype: torch.dtype | None = None
    """Precision of the VAE, where that was chosen."""

    @cached_property
    def schedule(self) -> Schedule:
        return schedule_of(self.model.spec)

    @property
    def path(self) -> NoisePath:
        return self.schedule.path

    @cached_property
    def sigmas(self) -> Tensor:
        return self.schedule.sigmas(self.request.num_inference_steps, self.request.flow_shift)

    @property
    def dtype(self) -> torch.dtype:
        """Of latents between steps."""
        if isinstance(self.model.spec, PublishedSpec):
            return torch.float32  # as in the reference; they are rounded in the model alone
        return next(self.model.dit.parameters()).dtype

    @cached_property
    def prompts(self) -> PromptSchedule:
        return PromptSchedule.of(self.request, self.model.spec.vae)

    def sample(
        self,
        first: int,
        count: int,
        wrap: Wrap = lambda denoiser: denoiser,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Latents `b c t h w`, b = 1, of the frames from `first` on, from noise.

        Args:
            wrap: put around the denoisers of both halves of guidance.
            on_step: told (steps done, steps) after each step.

        Raises:
            NonFiniteError: the result holds NaN or infinity.
        """
        return self.solve(self.denoiser(first, count, wrap), first, count, on_step)

    def solve(
        self,
        denoiser: Denoiser,
        first: int,
        count: int,
        on_step: OnStep | None = None,
        initial: Tensor | None = None,
    ) -> Tensor:
        """As `sample`, with a denoiser, and if wanted initial noise, of one's own."""
        request = self.request
        latents = SOLVERS[request.sampler](
            denoiser,
            self.noise("initial", first, count) if initial is None else initial,
            self.sigmas,
            path=self.path,
            eta=request.eta,
            noise=lambda step: self.noise(f"step-{step}", first, count),
            callback=on_step,
        )
        return self.finite(latents)

    def denoiser(
        self,
        first: int,
        count: int,
        wrap: Wrap = lambda denoiser: denoiser,
        scale: float | None = None,
        positive: Mapping[str, Any] = MappingProxyType({}),
        negative: Mapping[str, Any] = MappingProxyType({}),
    ) -> Denoiser:
        """The guided denoiser of the latent frames from `first` on.

        Args:
            wrap: see `sample`.
            scale: of guidance; None is that of `guidance_scale`.
            positive, negative: what the model is given beside the text in each half of guidance.
        """
        request = self.request
        return with_guidance(
            self.prompts.denoiser(
                lambda prompt: wrap(self.conditioned_on(prompt, **positive)), first, count
            ),
            wrap(self.avoiding(**negative)),
            self.guidance_scale(first, count) if scale is None else scale,
            rescale=request.guidance_rescale,
            sigma_range=interval_sigmas(self.sigmas, request.guidance_interval),
            halves=self.halves,
        )

    def guidance_scale(self, first: int, count: int) -> float:
        """Less for frames that go on from others, which say what to show, than for a new prompt."""
        request = self.request
        goes_on = first > 0 and self.prompts.is_steady(first, count)
        if request.context_guidance is None or not goes_on:
            return request.guidance_scale
        return request.context_guidance

    def conditioned_on(self, prompt: str, **given: Any) -> Denoiser:
        """The denoiser of one prompt; `given` goes to the model beside the text."""
        return self._told(self.model.text.encode([prompt]), **given)

    def avoiding(self, **given: Any) -> Denoiser:
        """The denoiser of the negative prompt."""
        request = self.request
        _, text = encode_pair(self.model.text, request.prompt, request.negative_prompt)
        return self._told(text, **given)

    def _told(self, text: TextEmbedding, **given: Any) -> Denoiser:
        told = {"text": text, **self.given, **given}
        return as_denoiser(self._remembered(), self.path, self.schedule.prediction, **told)

    def _remembered(self) -> Callable[..., Tensor]:
        """The transformer; with step caching, with a memory of its own."""
        if self.step_cache is None:
            return self.model.dit
        steps = self.request.num_inference_steps * (2 if self.request.sampler == "heun" else 1)
        return remembering(self.model.dit, StepMemory(self.step_cache, steps))

    def noise(self, purpose: str, first: int, count: int) -> Tensor:
        """Standard normal noise `b c t h w`, b = 1, of latent frames, as the model takes it."""
        request = self.request
        c, _, h, w = self.model.spec.latent_shape(1, request.height, request.width)
        noise = frame_noise(request.seed, c, h, w, first, count, purpose)
        return noise[None].to(self.device, self.dtype)

    def finite(self, latents: Tensor) -> Tensor:
        """Return `latents` if they are finite.

        Raises:
            NonFiniteError: they are not.
        """
        if not torch.isfinite(latents).all():
            raise NonFiniteError(
                f"{self.request.id}: got NaN or infinity in the latents, expected finite numbers. "
                "Fix: lower guidance_scale, use more steps, or dtype float32."
            )
        return latents
