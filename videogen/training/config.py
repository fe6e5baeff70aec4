"""Training configurations, read from `configs/train/*.yaml`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from videogen.errors import ConfigError
from videogen.models.config import DiTConfig, TextConfig, VAEConfig
from videogen.training.checks import (
    check_clips,
    check_counts,
    check_emphasis,
    check_pools,
    check_worlds,
)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Constant learning rate after a warm-up, then linear to zero over the last share."""

    num_steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int = 100
    cooldown_share: float = 0.3
    ema_decay: float = 0.998
    gradient_clip: float = 1.0
    seed: int = 0
    num_threads: int = 2
    device: str = "cpu"
    """Where to train: cpu or cuda[:n]. Random numbers are drawn on the CPU either way."""
    log_every: int = 20
    checkpoint_every: int = 200

    def __post_init__(self) -> None:
        counts = "num_steps", "batch_size", "num_threads", "log_every", "checkpoint_every"
        check_counts(self, *counts)
        if self.seed < 0:
            raise ConfigError(f"seed: got {self.seed}, expected 0 or more.")
        if not 0 <= self.learning_rate < math.inf:
            raise ConfigError(f"learning_rate: got {self.learning_rate}, expected 0 or more.")


@dataclass(frozen=True, kw_only=True)
class VAETrainConfig:
    """Frames to latents and back, on rendered clips or on packed ones."""

    schema: Literal[1] = 1
    schedule: ScheduleConfig
    """`batch_size` is that of all workers together."""
    data: str = ""
    """A folder of shards that `videogen data pack` wrote; empty: rendered clips of `worlds`."""
    accumulate: int = 1
    """Parts that each worker's share of a batch is taken in, one after the other."""
    vae: VAEConfig = field(default_factory=VAEConfig)
    worlds: tuple[str, ...] = ("narrow", "wide")
    num_frames: int = 9
    """Frames of a window, from anywhere in packed clips."""
    size: int = 64
    """Side of the frames, px; packed clips are cropped to squares, and scaled where smaller."""
    mse_weight: float = 2.0
    edge_gain: float = 6.0
    """Extra weight of pixels at the sharpest edges."""
    kl_weight: float = 1e-4
    validation_clips: int = 32
    start_from: str = ""
    """A VAE folder whose weights are the start, where names and shapes agree."""
    freeze_encoder: bool = False
    """Train the decoder alone, so that a DiT trained on these latents stays valid."""
    latent_noise: float = 0.05
    """Most noise on the latents, in standard deviations, when the encoder is frozen or anchored;
    each clip has between none and this much. A decoder that knows noise mends a DiT's slips."""
    anchor_weight: float = 0.0
    """Weight of the squared distance of the latents to those of `start_from`, in standard
    deviations, in place of the KL term: the encoder goes on learning, and a DiT trained on the
    former latents needs little more training."""
    muon_learning_rate: float = 0.0
    """For the convolution kernels, with Muon; 0 leaves them to AdamW."""
    autocast: bool = False
    """Convolutions in bfloat16: faster where the CPU has instructions for it."""

    def __post_init__(self) -> None:
        check_counts(self, "accumulate", "size", "validation_clips")
        check_worlds(self.worlds)
        check_clips(self.vae, self.num_frames, self.size)


@dataclass(frozen=True, kw_only=True)
class LatentPoolConfig:
    """Encoded clips kept in memory, encoded once and slowly replaced."""

    num_frames: int
    kind: Literal["whole", "continued", "looped"] = "whole"
    """Whole clips, windows from anywhere in clips with known frames before them, or the last
    windows of clips that run round, which lead up to known frames of their start."""
    window_frames: int = 0
    """Frames of a window, 4n+1, for pools that are not of whole clips."""
    initial: int
    capacity: int
    fresh_per_step: float
    """New clips encoded per optimiser step of this pool."""
    share: float
    """Share of the batches drawn from this pool."""

    def __post_init__(self) -> None:
        check_counts(self, "initial", "capacity")
        if not 0 <= self.window_frames <= self.num_frames:
            raise ConfigError(
                f"window_frames: got {self.window_frames}, expected at most num_frames, "
                f"{self.num_frames}, or 0 for all of them."
            )


@dataclass(frozen=True, kw_only=True)
class DiTTrainConfig:
    """Prompts to latents: diffusion forcing mixed with shared noise levels."""

    schema: Literal[1] = 1
    schedule: ScheduleConfig
    """`batch_size` is that of all workers together, for the shortest pool."""
    name: str = "default"
    vae_folder: str
    start_from: str = ""
    """A model folder whose DiT and text encoder are the start; empty: random weights. Its DiT may
    lack the stage at single cells of `dit`, which then starts as one that changes nothing."""
    pools: tuple[LatentPoolConfig, ...]
    dit: DiTConfig = field(default_factory=DiTConfig)
    text: TextConfig = field(default_factory=TextConfig)
    worlds: tuple[str, ...] = ("narrow",)
    size: int = 64
    accumulate: int = 1
    """Parts that each worker's share of a batch is taken in, one after the other."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """Whole weights on every worker, or a share of them on each."""
    muon_learning_rate: float = 0.002
    """For the matrices of the blocks, with Muon; everything else uses `schedule.learning_rate`.
    0 leaves them to AdamW, as fsdp needs it."""
    caption_dropout: float = 0.1
    unknown_words: float = 0.1
    """Share of captions in which words are replaced by, or mixed with, unknown ones."""
    independent_share: float = 0.25
    """Share of samples whose frames have independent noise levels."""
    known_noise: float = 0.2
    """Frames that a window goes on from have a noise level between 0 and this."""
    shorter_share: float = 0.1
    """Share of batches cut to fewer latent frames."""
    emphasis: dict[str, float] = field(default_factory=dict)
    """How often clips of a motion are drawn, for motions that are learned last; 1 if not said."""
    logit_mean: float = 0.5
    logit_std: float = 1.0
    autocast: bool = False
    """Matrix products in bfloat16: faster where the CPU has instructions for it."""
    compile: bool = False
    """Compile the blocks: a minute or two for every length of clips, then steps are quicker."""
    map_weight: float = 0.0
    """Weight of a second loss: which shape, colour and motion is where, read off the tokens behind
    a block. It is learned to learn the first sooner, and not part of the model."""
    map_block: int = 3
    """The block, from 1."""
    text_weight: float = 0.0
    """Weight of a third loss: all that is said of an object, read off each word that speaks of it.
    Not part of the model either."""
    sampling: dict[str, Any] = field(default_factory=dict)
    """Written into the model folder as its recommended sampling."""

    def __post_init__(self) -> None:
        check_counts(self, "accumulate", "size")
        check_worlds(self.worlds)
        check_pools(self.pools)
        check_emphasis(self.emphasis)
        if self.reads_scenes and not 1 <= self.map_block <= self.dit.depth:
            raise ConfigError(
                f"map_block: got {self.map_block}, expected 1 to {self.dit.depth}, the blocks of "
                "dit. Fix: use the one in the middle."
            )

    @property
    def reads_scenes(self) -> bool:
        """Whether more is learned than to take noise."""
        return bool(self.map_weight or self.text_weight)


@dataclass(frozen=True, kw_only=True)
class FineTuneConfig:
    """A model that goes on learning, from encoded clips."""

    schema: Literal[1] = 1
    schedule: ScheduleConfig
    """`batch_size` is that of all workers together."""
    model: str = "default"
    """What to start from: "default" or a model folder."""
    name: str = "finetuned"
    data: str
    """A folder of shards that `videogen data encode` wrote with a model of the same VAE."""
    accumulate: int = 1
    """Parts that each worker's share of a batch is taken in, one after the other."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """Whole weights on every worker, or a share of them on each."""
    checkpoint_blocks: bool = False
    """Keep only what enters each block and compute the rest again: less memory, more time."""
    lora_rank: int = 0
    """Train matrices of this rank beside the weights of the blocks; 0 trains all weights."""
    muon_learning_rate: float = 0.0
    """For the matrices of the blocks, with Muon; 0 leaves them to AdamW. Not with fsdp."""
    caption_dropout: float = 0.1
    independent_share: float = 0.2
    """Share of samples whose frames have independent noise levels."""
    logit_mean: float = 0.0
    logit_std: float = 1.0
    autocast: bool = False
    """Matrix products in bfloat16."""

    def __post_init__(self) -> None:
        check_counts(self, "accumulate")
        if self.lora_rank < 0:
            raise ConfigError(f"lora_rank: got {self.lora_rank}, expected 0 or more.")
