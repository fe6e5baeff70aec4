"""Stages on two workers, interrupted: they train what one worker does with the whole batch."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.distributed.pool import RankPool
from tests.distributed.training_jobs import train_stage
from tests.tiny_text_video import TINY_TEXT_VIDEO
from videogen.models.config import DiTConfig, TextConfig, VAEConfig
from videogen.models.weights import load_model, save_vae
from videogen.training.config import (
    DiTTrainConfig,
    LatentPoolConfig,
    ScheduleConfig,
    VAETrainConfig,
)
from videogen.training.contrastive_config import ContrastiveTrainConfig
from videogen.training.distill_config import DistillConfig, TrajectoryPoolConfig

SCHEDULE = ScheduleConfig(
    num_steps=6, batch_size=5, learning_rate=1e-3, warmup_steps=2, log_every=1, num_threads=1
)


def vae_config(tiny_model: Path, folder: Path) -> VAETrainConfig:
    del tiny_model, folder
    return VAETrainConfig(
        schedule=SCHEDULE,
        vae=VAEConfig(latent_channels=4, widths=(8, 8, 8)),
        num_frames=5,
        size=32,
        validation_clips=2,
        accumulate=2,
    )


def dit_config(tiny_model: Path, folder: Path, strategy: str = "ddp") -> DiTTrainConfig:
    model = load_model(tiny_model)
    save_vae(folder / "vae", model.vae, model.spec.latents)
    return DiTTrainConfig(
        schedule=SCHEDULE,
        vae_folder=str(folder / "vae"),
        pools=(
            LatentPoolConfig(num_frames=5, initial=20, capacity=32, fresh_per_step=8, share=0.5),
            LatentPoolConfig(num_frames=17, initial=5, capacity=5, fresh_per_step=1, share=0.5),
        ),
        dit=DiTConfig(in_channels=4, width=24, depth=1, num_heads=2, text_width=12),
        text=TextConfig(width=12, depth=1, num_heads=2),
        size=32,
        strategy=strategy,  # pyright: ignore[reportArgumentType]
        muon_learning_rate=0.0 if strategy == "fsdp" else 5e-3,
        accumulate=2,
    )


def fsdp_config(tiny_model: Path, folder: Path) -> DiTTrainConfig:
    return dit_config(tiny_model, folder, "fsdp")


def contrastive_config(tiny_model: Path, folder: Path) -> ContrastiveTrainConfig:
    del tiny_model, folder
    return ContrastiveTrainConfig(
        schedule=SCHEDULE,
        accumulate=2,
        encoder=TINY_TEXT_VIDEO,
        usual_frames=5,
        num_frames=(5, 9),
        validation_clips=4,
    )


def distill_config(tiny_model: Path, folder: Path) -> DistillConfig:
    del folder
    pool = TrajectoryPoolConfig(
        num_frames=9, goes_on=0.7, initial=7, capacity=9, fresh_per_step=2, share=0.5
    )
    return DistillConfig(
        schedule=SCHEDULE,
        model=str(tiny_model),
        accumulate=2,
        num_inference_steps=2,
        teacher_steps=4,
        lora_rank=4,
        teacher_batch=3,
        autocast=False,
        pools=(pool, replace(pool, num_frames=5)),
    )


def log_of(folder: Path, key: str) -> list[float]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [row[key] for row in rows if key in row]


@pytest.mark.distributed
@pytest.mark.parametrize(
    "make", [vae_config, dit_config, fsdp_config, contrastive_config, distill_config]
)
def test_two_workers_train_what_one_does(
    ranks: RankPool, tiny_model: Path, tmp_path: Path, make: object
) -> None:
    config = make(tiny_model, tmp_path)  # pyright: ignore[reportCallIssue]
    ranks.run(train_stage, 2, config=config, folder=tmp_path / "two", stop_at=4)
    first, second = (tmp_path / "two" / f"worker-{rank}" for rank in (0, 1))
    assert not (second / "checkpoint.safetensors").exists()
    shutil.copy(first / "checkpoint.safetensors", second)
    ranks.run(train_stage, 2, config=config, folder=tmp_path / "two")
    ranks.run(train_stage, 1, config=config, folder=tmp_path / "one")
    for key, tolerance in (("loss", 1e-4), ("gradient_norm", 1e-3)):
        expected = log_of(tmp_path / "one" / "worker-0", key)
        assert len(expected) == SCHEDULE.num_steps
        assert log_of(first, key) == pytest.approx(expected, rel=tolerance)
