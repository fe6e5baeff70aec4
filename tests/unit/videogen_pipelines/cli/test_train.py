"""`videogen train`: from a configuration to a model folder, and clear refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.encoded import write_encoded
from videogen.models.weights import load_model, load_vae
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


@pytest.fixture
def finetuning(tiny_model: Path, tmp_path: Path) -> list[str]:
    data = write_encoded(tmp_path / "encoded", load_model(tiny_model), {5: 6})
    config = tmp_path / "finetune.yaml"
    config.write_text(
        f"schema: 1\nmodel: {tiny_model}\ndata: elsewhere\nschedule: {{num_steps: 4, batch_size: 2,"
        " learning_rate: 1.0e-3, log_every: 1, num_threads: 1, checkpoint_every: 2}\n"
    )
    return ["train", "finetune", str(config), "--data", str(data), "--out", str(tmp_path / "out")]


def test_finetune_leaves_all_that_must_last_and_goes_on(
    finetuning: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = ["--validation-prompt", "a red circle"]
    assert run([*finetuning, *prompts, "--set", "schedule.num_steps=2", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["step"] == 2
    assert run([*finetuning, *prompts]) == 0
    out = tmp_path / "out"
    assert f"Trained to step 4, loss {log_of(out)[-1]['loss']:.4g}" in capsys.readouterr().out
    assert [row["step"] for row in log_of(out)] == [1, 2, 3, 4]
    clips = {path.relative_to(out).as_posix() for path in out.rglob("*.mp4")}
    assert clips == {"validation/000002/000.mp4", "validation/000004/000.mp4"}
    assert load_model(out / "model").spec.name == "finetuned"


@pytest.mark.parametrize("workers", ["0", "3:2", "two", "-1", "1:"])
def test_workers_are_a_number_or_a_range(
    finetuning: list[str], workers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run([*finetuning, "--workers", workers, "--set", "schedule.num_steps=1"])
    assert code == 2
    assert "expected 4, or 2:8 for 2 to 8" in " ".join(capsys.readouterr().err.split())


def log_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
