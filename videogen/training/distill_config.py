"""The configuration of a few-step model, read from `configs/train/distill.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from videogen.errors import ConfigError
from videogen.training.checks import check_counts, check_pools, check_worlds
from videogen.training.config import ScheduleConfig


@dataclass(frozen=True, kw_only=True)
class TrajectoryPoolConfig:
    """Clips that the teacher makes, kept in memory with the states on their way."""

    num_frames: int
    """Frames of a window, 4n+1."""
    goes_on: float = 0.0
    """Share of windows whose first frames, or also last ones, are those of clips made before."""
    initial: int
    capacity: int
    fresh_per_step: float
    """New clips made per optimiser step."""
    share: float
    """Share of the batches drawn from this pool."""

    def __post_init__(self) -> None:
        check_counts(self, "initial", "capacity")
        if not 0 <= self.goes_on <= 1:
            raise ConfigError(f"goes_on: got {self.goes_on}, expected 0 to 1.")


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """A teacher's many guided steps learned as few steps without guidance."""

    schema: Literal[1] = 1
    schedule: ScheduleConfig
    """`batch_size` is that of all workers together, for the shortest pool."""
    accumulate: int = 1
    """Parts that each worker's share of a batch is taken in, one after the other."""
    model: str = "default"
    """The teacher: "default" or a model folder; Euler steps, guidance and shift as recommended."""
    name: str = "default-fast"
    base: str = ""
    """Where users of the result find the teacher, if not where it is now."""
    num_inference_steps: int = 4
    """Of the student."""
    teacher_steps: int = 12
    """Of the teacher, a multiple of the student's."""
    lora_rank: int = 32
    worlds: tuple[str, ...] = ("narrow",)
    """What prompts are about."""
    pools: tuple[TrajectoryPoolConfig, ...]
    teacher_batch: int = 32
    caption_dropout: float = 0.03
    unknown_words: float = 0.1
    """Share of captions in which words are replaced by, or mixed with, unknown ones."""
    autocast: bool = True
    """Matrix products in bfloat16."""

    def __post_init__(self) -> None:
        check_counts(self, "accumulate", "teacher_batch")
        check_worlds(self.worlds)
        check_pools(self.pools)
        if self.num_inference_steps < 1 or self.teacher_steps % self.num_inference_steps:
            raise ConfigError(
                f"teacher_steps: got {self.teacher_steps}, expected a multiple of "
                f"num_inference_steps, {self.num_inference_steps}. Fix: use "
                f"{3 * max(1, self.num_inference_steps)}."
            )
        if self.lora_rank < 1:
            raise ConfigError(
                f"lora_rank: got {self.lora_rank}, expected 1 or more, because the result is an "
                "adapter. Fix: use 32."
            )
