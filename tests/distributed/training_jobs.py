"""What the workers of a training run do in their processes."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.distributed.pool import Rank
from videogen.training.config import FineTuneConfig
from videogen.training.finetune import finetune
from videogen.training.world import World


def train(rank: Rank, config: FineTuneConfig, folder: Path, stop_at: int | None = None) -> None:
    mesh = rank.mesh(1, 2)
    assert mesh.gang is not None
    with torch.enable_grad():  # which ranks are started without
        finetune(config, folder / f"worker-{rank.rank}", World(rank.rank, 2), stop_at)
