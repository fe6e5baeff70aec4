"""Prompts that change while a clip runs: estimates of both are blended over the frames between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from videogen.diffusion.denoiser import Denoiser
from videogen.models.protocol import VAESizes
from videogen.requests import ClipRequest

TRANSITION_S = 1.0
"""How long one prompt takes to become the next, half before its time and half after."""


@dataclass(frozen=True)
class PromptSchedule:
    """Which prompt holds when.

    Attributes:
        prompts: one after the other.
        times_s: when each takes over; the first at 0.
    """

    prompts: tuple[str, ...]
    times_s: tuple[float, ...]
    fps: float
    vae: VAESizes

    @classmethod
    def of(cls, request: ClipRequest, vae: VAESizes) -> PromptSchedule:
        """The schedule of a request; that of a plain prompt has one entry."""
        if not request.prompts:
            return cls((request.prompt,), (0.0,), request.fps, vae)
        prompts = tuple(entry.prompt for entry in request.prompts)
        return cls(prompts, tuple(e.at_s for e in request.prompts), request.fps, vae)

    def weights(self, first: int, count: int) -> Tensor:
        """How much each prompt says in each latent frame, `p t`; every column sums to 1."""
        frames = [self._centre(index) for index in range(first, first + count)]
        middles_s = torch.tensor(frames, dtype=torch.float64) / self.fps
        shares = [torch.ones_like(middles_s)]
        for before, start in pairwise(self.times_s):
            ramp = min(TRANSITION_S, start - before)
            shares.append(((middles_s - start) / ramp + 0.5).clamp(0, 1))
        shares.append(torch.zeros_like(middles_s))
        # Each later prompt covers those before it.
        rows, covered = [], torch.zeros_like(middles_s)
        for share in reversed(shares[:-1]):
            rows.append(share * (1 - covered))
            covered = covered + rows[-1]
        return torch.stack(rows[::-1])

    def is_steady(self, first: int, count: int) -> bool:
        """Whether some latent frames show what the one before them was to show."""
        weights = self.weights(max(0, first - 1), count + min(first, 1))
        return torch.equal(weights, weights[:, :1].expand_as(weights))

    def at(self, latent: int) -> str:
        """The prompt that says most in a latent frame."""
        return self.prompts[int(self.weights(latent, 1)[:, 0].argmax())]

    def denoiser(
        self, conditioned_on: Callable[[str], Denoiser], first: int, count: int
    ) -> Denoiser:
        """A denoiser of latent frames that each follow the prompts of their own time."""
        weights = self.weights(first, count)
        active = [
            (conditioned_on(prompt), row)
            for prompt, row in zip(self.prompts, weights, strict=True)
            if row.any()
        ]
        if len(active) == 1:
            return active[0][0]

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            parts = [denoiser(x, sigma) * row.to(x)[:, None, None] for denoiser, row in active]
            return torch.stack(parts).sum(dim=0)

        return denoise

    def _centre(self, latent: int) -> float:
        """Index of the frame in the middle of those that a latent frame holds."""
        return (self.vae.frames(latent) + self.vae.frames(latent + 1) - 1) / 2
