"""`videogen train`: from a configuration to a model folder, and clear refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from videogen.models.weights import load_vae
from videogen_pipelines.cli.app import run

TINY_VAE = """
schema: 1
num_frames: 5
size: 32
validation_clips: 2
vae: {latent_channels: 4, widths: [8, 8, 8]}
schedule: {num_steps: 4, batch_size: 1, learning_rate: 1.0e-3, log_every: 1, num_threads: 1}
"""


def test_trains_a_vae_into_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "vae.yaml"
    config.write_text(TINY_VAE)
    out = tmp_path / "out"
    command = ["train", "vae", str(config), "--out", str(out), "--json"]
    assert run([*command, "--set", "schedule.num_steps=2"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 2
    vae, _ = load_vae(out / "model")
    assert vae.config.latent_channels == 4


def test_a_wrong_field_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "vae.yaml"
    config.write_text(TINY_VAE.replace("num_steps", "steps"))
    assert run(["train", "vae", str(config), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert "schedule.steps: unknown field" in said.out + said.err
    assert not (tmp_path / "out").exists()


def test_a_missing_vae_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = Path(__file__).parents[4] / "configs" / "train" / "dit.yaml"
    command = ["train", "dit", str(config), "--out", str(tmp_path / "out")]
    assert run([*command, "--set", f"vae_folder={tmp_path / 'none'}"]) == 2
    said = capsys.readouterr()
    assert "vae.yaml" in said.out + said.err
