"""Prompt schedules: who says how much when, and that a plain prompt costs nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from videogen.extension.prompts import PromptSchedule
from videogen.models.config import VAEConfig


def schedule(*times_s: float, fps: float = 8.0) -> PromptSchedule:
    return PromptSchedule(tuple("abcd"[: len(times_s)]), times_s, fps, VAEConfig())


def test_one_prompt_takes_over_from_the_other_within_a_second_around_its_time() -> None:
    weights = schedule(0.0, 4.0).weights(0, 20)
    torch.testing.assert_close(weights.sum(dim=0), torch.ones(20, dtype=torch.float64))
    # Latent frame i > 0 holds frames 4i-3 to 4i, so its middle is (4i - 1.5) / 8 s.
    assert weights[0, 7] == 1 and (4 * 7 - 1.5) / 8 < 3.5
    assert weights[1, 10] == 1 and (4 * 10 - 1.5) / 8 > 4.5
    torch.testing.assert_close(weights[1, 8], torch.tensor((4 * 8 - 1.5) / 8 - 4.0 + 0.5).double())


def test_every_prompt_has_its_time() -> None:
    plan = schedule(0.0, 2.0, 6.0)
    assert [plan.at(i) for i in (0, 2, 8, 10, 15)] == ["a", "a", "b", "b", "c"]


def test_a_prompt_shorter_than_a_transition_still_shows() -> None:
    weights = schedule(0.0, 1.0, 1.5, fps=24.0).weights(0, 20)
    torch.testing.assert_close(weights.sum(dim=0), torch.ones(20, dtype=torch.float64))
    assert weights[1].max() > 0.5
    assert weights[2, -1] == 1


def test_estimates_are_blended_frame_by_frame() -> None:
    calls = []

    def conditioned_on(prompt: str):
        def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
            calls.append(prompt)
            return torch.full_like(x, {"a": 0.0, "b": 1.0}[prompt])

        return denoiser

    plan = schedule(0.0, 4.0)
    x = torch.zeros(1, 2, 4, 2, 2)
    blended = plan.denoiser(conditioned_on, 6, 4)(x, torch.tensor(0.5))
    torch.testing.assert_close(blended[0, 0, :, 0, 0], plan.weights(6, 4)[1].float())
    assert sorted(calls) == ["a", "b"]
    calls.clear()
    plan.denoiser(conditioned_on, 0, 4)(x, torch.tensor(0.5))
    assert calls == ["a"]


def test_frames_are_steady_unless_another_prompt_begins() -> None:
    plan = schedule(0.0, 4.0)
    assert plan.is_steady(0, 6)
    assert not plan.is_steady(5, 4)
    # Latent frame 9 is the last that still blends the two.
    assert not plan.is_steady(10, 4) and plan.is_steady(11, 4)
    assert schedule(0.0).is_steady(3, 5)
