"""What ranks are asked to do with models that leave out work; imported by their processes."""

from __future__ import annotations

import numpy as np
import torch

from tests.distributed.pool import Rank
from tests.distributed.published_jobs import Clip, forward, make_model
from videogen.models.step_cache import StepMemory, install_step_cache, remembering
from videogen.models.variant import StepCache
from videogen.parallel.apply import parallelize

TIMESTEPS = [900.0 - 2 * step for step in range(8)]


def steps(clip: Clip, cache: StepCache, rank: Rank | None = None) -> tuple[list[np.ndarray], int]:
    """Predictions at falling timesteps, and how often the last block was computed."""
    model = make_model(clip.model)
    install_step_cache(model, cache)
    blocks = getattr(model, "blocks", None) or model.temporal_transformer_blocks
    computed = []
    last = getattr(blocks[-1], "inner", blocks[-1])
    last.register_forward_hook(lambda *_: computed.append(1))
    if rank is not None:
        parallelize(model, rank.mesh(1, clip.seq_degree))
    remembers = remembering(model, StepMemory(cache, len(TIMESTEPS)))
    with torch.inference_mode():
        made = [forward(clip, remembers, timestep).numpy() for timestep in TIMESTEPS]
    return made, len(computed)


def run(rank: Rank, clip: Clip, cache: StepCache) -> tuple[list[np.ndarray], int]:
    """`steps` on one of several ranks."""
    return steps(clip, cache, rank)
