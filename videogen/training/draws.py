"""What a training step draws, from the seed and the number of the step alone.

Nothing is carried from step to step, so a run that is resumed, or shared by other workers, draws
the same clips, levels and noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from videogen.diffusion.objectives import logit_normal, sample_noise_levels
from videogen.training.config import FineTuneConfig


@dataclass(frozen=True)
class Draw:
    """A batch, shared by all workers.

    Attributes:
        indices: of the clips, all of one shape.
        drops: which of their captions are dropped.
        levels: of the noise, in [0, 1], `b t`.
    """

    indices: list[int]
    drops: list[bool]
    levels: Tensor
    seed: int

    def __len__(self) -> int:
        return len(self.indices)

    def noise(self, place: int, shape: Sequence[int]) -> Tensor:
        """Standard normal noise `c t h w` of the clip at `place` of the batch."""
        return torch.randn(*shape, generator=generator_of(self.seed, place))


def draw(config: FineTuneConfig, buckets: Mapping[tuple[int, ...], list[int]], step: int) -> Draw:
    """The batch of a step: clips of one shape, shapes as often as they are among the clips."""
    schedule = config.schedule
    rng = np.random.default_rng([schedule.seed, step])
    shapes = sorted(buckets)
    sizes = np.array([len(buckets[shape]) for shape in shapes], dtype=float)
    shape = shapes[int(rng.choice(len(shapes), p=sizes / sizes.sum()))]
    members = buckets[shape]
    count = schedule.batch_size
    indices = [members[int(place)] for place in rng.integers(len(members), size=count)]
    drops = (rng.random(count) < config.caption_dropout).tolist()
    seed = int(rng.integers(2**62))
    levels = sample_noise_levels(
        count,
        shape[1],
        logit_normal(config.logit_mean, config.logit_std),
        config.independent_share,
        generator_of(seed, count),
        per_sample=True,
    )
    return Draw(indices, drops, levels, seed)


def generator_of(*seeds: int) -> torch.Generator:
    """Random numbers that depend on all of these and nothing else."""
    mixed = np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed >> np.uint64(1)))
