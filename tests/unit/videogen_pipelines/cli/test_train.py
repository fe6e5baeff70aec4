"""`videogen train`: from a configuration to a model folder, and clear refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.encoded import write_encoded
from videogen.models.weights import load_model, load_vae, save_vae
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


def test_a_log_that_was_cut_short_is_gone_on_with(tmp_path: Path) -> None:
    config, log = tmp_path / "vae.yaml", tmp_path / "out" / "log.jsonl"
    config.write_text(TINY_VAE)
    command = ["train", "vae", str(config), "--out", str(tmp_path / "out"), "--json"]
    assert run([*command, "--set", "schedule.num_steps=1"]) == 0
    with log.open("a") as file:
        file.write('{"elapsed_s": 0.2, "st')
    assert run([*command, "--set", "schedule.num_steps=2"]) == 0
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [1, 1, 2, 2]


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_named(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    config = tmp_path / "vae.yaml"
    config.write_text(TINY_VAE)
    command = ["train", "vae", str(config), "--out", str(tmp_path / "out")]
    assert run([*command, "--set", f"schedule.device={device}"]) == 2
    assert f"error: schedule.device: got '{device}'" in capsys.readouterr().err


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


TINY_DIT = """
schema: 1
vae_folder: {vae}
size: 32
pools: [{{num_frames: 5, initial: 4, capacity: 8, fresh_per_step: 1, share: 1}}]
dit: {{in_channels: 4, width: 24, depth: 1, num_heads: 2, text_width: 12}}
text: {{width: 12, depth: 1, num_heads: 2}}
sampling: {{num_frames: 5, height: 32, width: 32, num_inference_steps: 1}}
schedule: {{num_steps: 2, batch_size: 2, learning_rate: 1.0e-3, log_every: 1, num_threads: 1}}
"""


def test_trains_a_dit_with_clips_on_the_way(tiny_model: Path, tmp_path: Path) -> None:
    model, config, out = load_model(tiny_model), tmp_path / "dit.yaml", tmp_path / "out"
    save_vae(tmp_path / "vae", model.vae, model.spec.latents)
    config.write_text(TINY_DIT.format(vae=tmp_path / "vae"))
    command = ["train", "dit", str(config), "--out", str(out)]
    assert run([*command, "--validation-prompt", "a red circle"]) == 0
    assert [len(row["loss_by_level"]) for row in log_of(out)] == [4, 4]
    assert (out / "validation" / "000002" / "000.mp4").is_file()
    assert "circle" in load_model(out / "model").spec.vocabulary


TINY_SIZES = """
schema: 1
name: mine
description: tiny
dit: {in_channels: 4, width: 24, depth: 1, num_heads: 2, text_width: 12}
vae: {latent_channels: 4}
text: {width: 12, depth: 1, num_heads: 2, max_tokens: 8}
clip: {num_frames: 5, height: 32, width: 32, fps: 8.0}
"""


def test_a_model_from_nothing_learns_clips_and_their_words(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes, fresh, out = tmp_path / "sizes.yaml", tmp_path / "new", tmp_path / "out"
    sizes.write_text(TINY_SIZES)
    command = ["train", "new", str(sizes), "--vae", str(tiny_model), "--out", str(fresh)]
    assert run([*command, "--text-encoder", "somewhere"]) == 2
    assert "expected none" in " ".join(capsys.readouterr().err.split())
    assert run(command) == 0
    assert load_model(fresh).spec.vocabulary == ()
    data = write_encoded(tmp_path / "encoded", load_model(fresh), {5: 6, 1: 2})
    config = tmp_path / "finetune.yaml"
    config.write_text(
        f"schema: 1\nmodel: {fresh}\ndata: {data}\nname: learned\n"
        "schedule: {num_steps: 40, batch_size: 4, learning_rate: 1.0e-2, warmup_steps: 2,"
        " log_every: 1, num_threads: 1}\n"
    )
    assert run(["train", "finetune", str(config), "--out", str(out), "--json"]) == 0
    losses = [row["loss"] for row in log_of(out)]
    assert sum(losses[-8:]) < 0.9 * sum(losses[:8])
    learned = load_model(out / "model")
    assert {"circle", "moving"} & set(learned.spec.vocabulary)
    assert learned.spec.sampling["num_frames"] == 5


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
