"""What the workers of a training run do in their processes."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.distributed.pool import Rank
from videogen.training.config import DiTTrainConfig, FineTuneConfig, VAETrainConfig
from videogen.training.contrastive_config import ContrastiveTrainConfig
from videogen.training.contrastive_loop import train_contrastive
from videogen.training.distill import distill
from videogen.training.distill_config import DistillConfig
from videogen.training.dit_loop import train_dit
from videogen.training.finetune import finetune
from videogen.training.vae_loop import train_vae
from videogen.training.world import World


def train(rank: Rank, config: FineTuneConfig, folder: Path, stop_at: int | None = None) -> None:
    mesh = rank.mesh(1, 2)
    assert mesh.gang is not None
    with torch.enable_grad():  # which ranks are started without
        finetune(config, folder / f"worker-{rank.rank}", World(rank.rank, 2), stop_at)


def train_stage(
    rank: Rank,
    config: VAETrainConfig | DiTTrainConfig | ContrastiveTrainConfig | DistillConfig,
    folder: Path,
    stop_at: int | None = None,
) -> None:
    mine, world = folder / f"worker-{rank.rank}", World.of_process_group()
    with torch.enable_grad():
        if isinstance(config, VAETrainConfig):
            train_vae(config, mine, world, stop_at)
        elif isinstance(config, ContrastiveTrainConfig):
            train_contrastive(config, mine, world, stop_at)
        elif isinstance(config, DistillConfig):
            distill(config, mine, world, stop_at)
        else:
            train_dit(config, mine, world, stop_at)
