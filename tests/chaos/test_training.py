"""`kill -9` of a worker of Ray Train: training goes on from its checkpoint, and ends as ever."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Program
from tests.encoded import write_encoded
from videogen.config import load_dataclass, load_yaml
from videogen.models.weights import load_model, save_vae
from videogen.training.config import DiTTrainConfig, FineTuneConfig, ScheduleConfig
from videogen.training.dit_loop import train_dit
from videogen.training.finetune import finetune

NUM_STEPS = 40


def log_of(folder: Path) -> list[dict[str, float]]:
    path = folder / "log.jsonl"
    rows = path.read_text().splitlines() if path.exists() else []
    return [row for row in map(json.loads, rows) if "loss" in row]


@pytest.mark.chaos
@pytest.mark.cluster
def test_a_lost_worker_costs_the_steps_since_the_checkpoint(
    start_program: Callable[..., Program], tiny_model: Path, tmp_path: Path
) -> None:
    data = write_encoded(tmp_path / "encoded", load_model(tiny_model), {5: 8})
    schedule = ScheduleConfig(
        num_steps=NUM_STEPS, batch_size=4, learning_rate=1e-3, log_every=1, num_threads=1
    )
    finetune(
        FineTuneConfig(schedule=schedule, model=str(tiny_model), data=str(data)), tmp_path / "one"
    )
    config = tmp_path / "finetune.yaml"
    config.write_text(
        f"schema: 1\nmodel: {tiny_model}\ndata: {data}\n"
        f"schedule: {{num_steps: {NUM_STEPS}, batch_size: 4, learning_rate: 1.0e-3, log_every: 1,"
        " num_threads: 1, checkpoint_every: 2}\n"
    )
    out = tmp_path / "two"
    program = start_program("train", "finetune", config, "--out", out, "--workers", "2")
    program.wait_until(lambda: len(log_of(out)) >= 4)
    lose_a_worker(program)
    ended = program.wait()
    assert ended.code == 0, ended.err
    assert f"Trained to step {NUM_STEPS}" in ended.out
    log = log_of(out)
    assert [row["step"] for row in log] == list(range(1, NUM_STEPS + 1))
    expected = [row["loss"] for row in log_of(tmp_path / "one")]
    assert [row["loss"] for row in log] == pytest.approx(expected, rel=1e-3)


DIT = """
schema: 1
vae_folder: {vae}
size: 32
pools:
  - {{num_frames: 5, initial: 20, capacity: 32, fresh_per_step: 8, share: 0.5}}
  - {{num_frames: 17, initial: 5, capacity: 5, fresh_per_step: 1, share: 0.5}}
dit: {{in_channels: 4, width: 24, depth: 1, num_heads: 2, text_width: 12}}
text: {{width: 12, depth: 1, num_heads: 2}}
schedule: {{num_steps: {steps}, batch_size: 5, learning_rate: 1.0e-3, log_every: 1, num_threads: 1,
  checkpoint_every: 2}}
"""


@pytest.mark.chaos
@pytest.mark.cluster
def test_a_dit_loses_a_worker_and_ends_as_ever(
    start_program: Callable[..., Program], tiny_model: Path, tmp_path: Path
) -> None:
    model, config = load_model(tiny_model), tmp_path / "dit.yaml"
    save_vae(tmp_path / "vae", model.vae, model.spec.latents)
    config.write_text(DIT.format(vae=tmp_path / "vae", steps=NUM_STEPS))
    settings = load_dataclass(DiTTrainConfig, load_yaml(config), str(config))
    train_dit(settings, tmp_path / "one")
    out = tmp_path / "two"
    program = start_program("train", "dit", config, "--out", out, "--workers", "1:2")
    program.wait_until(lambda: len(log_of(out)) >= 4)
    lose_a_worker(program)
    ended = program.wait()
    assert ended.code == 0, ended.err
    log, expected = log_of(out), log_of(tmp_path / "one")
    assert [row["step"] for row in log] == list(range(1, NUM_STEPS + 1))
    losses = [row["loss"] for row in expected]
    assert [row["loss"] for row in log] == pytest.approx(losses, rel=1e-3)


def lose_a_worker(program: Program) -> None:
    """Kill one of two, and wait until others have been started."""
    before = workers_of(program)
    assert len(before) == 2
    os.kill(max(before), signal.SIGKILL)
    program.wait_until(lambda: workers_of(program) - before)


def workers_of(program: Program) -> set[int]:
    return {pid for pid, command in program.family().items() if "RayTrainWorker" in command}
