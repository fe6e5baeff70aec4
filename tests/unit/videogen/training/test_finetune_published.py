"""Adapters of Wan and Latte through `videogen train finetune`: pictures and videos of two sizes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.encoded import write_encoded
from tests.tiny_published import latte_pipeline, wan_pipeline
from videogen.errors import ConfigError
from videogen.loading import load_generator
from videogen.models.latents_digest import latents_digest, text_digest
from videogen.models.protocol import VideoModel
from videogen.models.published import load_published
from videogen.models.variant import Lora, Variant
from videogen.training.config import FineTuneConfig, ScheduleConfig
from videogen.training.finetune import finetune
from videogen.training.loop import Hooks
from videogen_pipelines.cli.app import run

NUM_STEPS = 24
KINDS = {"wan": wan_pipeline, "latte": latte_pipeline}


@pytest.fixture(scope="module", params=list(KINDS))
def config(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`finetune.yaml` beside a tiny model and encoded clips of it: 32×32 and 48×48, few of each."""
    root = tmp_path_factory.mktemp(request.param)
    folder = root / "model"
    KINDS[request.param](folder)
    model = load_published(folder)
    write_encoded(root / "data" / "small", model, {5: 3, 1: 2}, size=32)
    write_encoded(root / "data" / "large", model, {5: 2}, size=48)
    path = root / "finetune.yaml"
    path.write_text(
        f"schema: 1\nmodel: {folder}\ndata: {root / 'data'}\nlora_rank: 4\n"
        f"schedule: {{num_steps: {NUM_STEPS}, batch_size: 4, learning_rate: 2.0e-2, log_every: 1,"
        " warmup_steps: 1, num_threads: 1, checkpoint_every: 12}\n"
    )
    return path


def settings(config: Path) -> FineTuneConfig:
    from videogen.config import load_dataclass, load_yaml

    return load_dataclass(FineTuneConfig, load_yaml(config), str(config))


def test_adapters_learn_resume_and_are_what_generation_loads(config: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(["train", "finetune", str(config), "--out", str(whole), "--json"]) == 0
    made: list[VideoModel] = []
    hooks = Hooks(on_save=lambda step, model: made.append(model))
    finetune(settings(config), parts, stop_at=13, hooks=hooks)
    finetune(settings(config), parts, hooks=hooks)
    losses = losses_of(whole)
    assert losses_of(parts) == losses
    assert sum(losses[-6:]) < 0.85 * sum(losses[:6])
    one, other = (load_file(path / "lora.safetensors") for path in (whole, parts))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    folder = config.parent / "model"
    plain = load_generator(folder, "cpu").model
    merged = load_generator(folder, "cpu", variant=Variant((Lora(whole),))).model
    before, after, learned = (denoised(model) for model in (plain, merged, made[-1]))
    assert not torch.allclose(before, after, atol=1e-2)
    torch.testing.assert_close(after, learned, atol=1e-4, rtol=1e-3)


@torch.no_grad()
def denoised(model: VideoModel) -> torch.Tensor:
    latents = torch.randn(1, 4, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    return model.dit(latents, torch.full((1, 2), 500.0), text=model.text.encode(["a red circle"]))


def losses_of(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


def test_published_models_of_one_encoder_read_the_same_latents(
    config: Path, tmp_path: Path
) -> None:
    model = config.parent / "model"

    def other(part: str, start: str) -> Path:
        folder = tmp_path / f"{part}-{start}"
        shutil.copytree(model, folder)
        path = next((folder / part).glob("*.safetensors"))
        tensors = load_file(path)
        name = next(name for name in sorted(tensors) if name.startswith(start))
        save_file({**tensors, name: tensors[name] + 1}, path)
        return folder

    altered = {start: other("vae", start) for start in ("encoder.", "decoder.")}
    same = [latents_digest(folder) == latents_digest(model) for folder in altered.values()]
    assert same == [False, True]
    assert text_digest(altered["encoder."]) == text_digest(model)
    texts = other("text_encoder", "")
    assert text_digest(texts) != text_digest(model)
    assert latents_digest(texts) == latents_digest(model)


def test_what_only_adapters_can_learn_is_refused_at_once(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["train", "finetune", str(config), "--out", str(out), "--set", "lora_rank=0"]
    assert run(command) == 2
    assert "expected adapters" in " ".join(capsys.readouterr().err.split())
    assert not (out / "log.jsonl").exists()


@pytest.mark.parametrize(("made_for", "why"), [("image", "a picture"), ("experts", "two transf")])
def test_wan_models_of_other_kinds_are_refused(tmp_path: Path, made_for: str, why: str) -> None:
    folder = tmp_path / "model"
    wan_pipeline(folder, image=made_for == "image", experts=made_for == "experts")
    write_encoded(tmp_path / "data", load_published(folder), {1: 2})
    schedule = ScheduleConfig(num_steps=1, batch_size=1, learning_rate=1e-3)
    config = FineTuneConfig(
        schedule=schedule, model=str(folder), data=str(tmp_path / "data"), lora_rank=2
    )
    with pytest.raises(ConfigError, match=why):
        finetune(config, tmp_path / "out")
