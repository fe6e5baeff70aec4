"""Training the VAE: it learns, it resumes exactly, and edges weigh more."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from videogen.errors import ConfigError, NonFiniteError, StorageError, WeightsError
from videogen.models.config import VAEConfig
from videogen.models.weights import load_vae
from videogen.training.config import ScheduleConfig, VAETrainConfig
from videogen.training.vae_loop import train_vae
from videogen.training.vae_loss import edge_weights

CONFIG = VAETrainConfig(
    schedule=ScheduleConfig(
        num_steps=20,
        batch_size=2,
        learning_rate=3e-3,
        warmup_steps=2,
        log_every=1,
        checkpoint_every=10,
        num_threads=1,
    ),
    vae=VAEConfig(latent_channels=4, widths=(8, 8, 8)),
    num_frames=5,
    size=32,
    validation_clips=2,
)


RUNS = ("parts", "whole")


def losses(folder: Path) -> list[float]:
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if "loss" in record]


def test_edges_weigh_more_than_flat_areas() -> None:
    frames = torch.full((1, 3, 1, 4, 6), -1.0)
    frames[..., 3:] = 1.0
    weights = edge_weights(frames, gain=6.0)
    assert weights.shape == (1, 1, 1, 4, 6)
    assert weights[0, 0, 0, 0].tolist() == [1.0, 1.0, 7.0, 7.0, 1.0, 1.0]


def test_training_learns_and_leaves_a_folder_that_loads(tmp_path: Path) -> None:
    train_vae(CONFIG, tmp_path)
    values = losses(tmp_path)
    assert sum(values[-5:]) < 0.9 * sum(values[:5])
    vae, statistics = load_vae(tmp_path / "model")
    assert vae.config == CONFIG.vae
    assert len(statistics.mean) == 4
    assert all(std > 0 for std in statistics.std)


@pytest.mark.parametrize("options", [{}, {"freeze_encoder": True, "muon_learning_rate": 1e-3}])
def test_an_interrupted_run_goes_on_as_if_it_had_not_stopped(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    config = replace(CONFIG, **options)
    train_vae(config, tmp_path / "whole")
    train_vae(config, tmp_path / "parts", stop_at=7)
    train_vae(config, tmp_path / "parts")
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    parts, whole = (load_file(tmp_path / name / "checkpoint.safetensors") for name in RUNS)
    assert all(torch.equal(parts[name], whole[name]) for name in whole)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    train_vae(CONFIG, tmp_path, stop_at=10)
    other = replace(CONFIG, vae=VAEConfig(latent_channels=8, widths=(8, 8, 8)))
    with pytest.raises(WeightsError, match="does not fit this configuration"):
        train_vae(other, tmp_path)


def test_parts_of_a_batch_add_up_to_the_whole(tmp_path: Path) -> None:
    anchored = replace(CONFIG, anchor_weight=1.0)
    train_vae(anchored, tmp_path / "whole", stop_at=4)
    train_vae(replace(anchored, accumulate=2), tmp_path / "parts", stop_at=4)
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), rel=1e-4)


def test_a_run_that_diverges_stops_before_it_writes(tmp_path: Path) -> None:
    schedule = replace(CONFIG.schedule, learning_rate=1e30, warmup_steps=1, checkpoint_every=1)
    with pytest.raises(NonFiniteError, match=r"step [2-4]: got a loss of .*lower the learning"):
        train_vae(replace(CONFIG, schedule=schedule), tmp_path)
    kept = load_file(tmp_path / "checkpoint.safetensors")
    assert all(bool(value.isfinite().all()) for value in kept.values())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"num_frames": 4}, r"num_frames: got 4, expected 4n\+1"),
        ({"size": 36}, "size: got 36, expected a multiple of 8"),
        ({"accumulate": 0}, "accumulate: got 0, expected 1 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused(changed: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        replace(CONFIG, **changed)


@pytest.mark.parametrize("name", ["num_steps", "log_every", "checkpoint_every", "num_threads"])
def test_a_schedule_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: got 0, expected 1 or more"):
        replace(CONFIG.schedule, **{name: 0})
    with pytest.raises(ConfigError, match="seed: got -1"):
        replace(CONFIG.schedule, seed=-1)


def test_a_full_disk_is_named_and_costs_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise SafetensorError("I/O error: No space left on device")

    train_vae(CONFIG, tmp_path, stop_at=1)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("videogen.training.finetune_state.save_file", full)
        with pytest.raises(StorageError, match=r"No space left on device, expected room"):
            train_vae(CONFIG, tmp_path, stop_at=2)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before
    train_vae(CONFIG, tmp_path, stop_at=2)
