"""Training the DiT: it learns, resumes exactly, and its folder generates."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import videogen
from videogen.errors import ConfigError
from videogen.models.config import DiTConfig, TextConfig
from videogen.models.spec import read_spec
from videogen.models.weights import load_model, save_vae
from videogen.shapes.captions import WORDS
from videogen.training.clips import numbered_scene
from videogen.training.config import DiTTrainConfig, LatentPoolConfig, ScheduleConfig
from videogen.training.dit_loop import train_dit
from videogen.training.prompts import training_prompt, vocabulary_of


@pytest.fixture(scope="module")
def config(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> DiTTrainConfig:
    folder = tmp_path_factory.mktemp("vae")
    model = load_model(tiny_model)
    save_vae(folder, model.vae, model.spec.latents)
    return DiTTrainConfig(
        schedule=ScheduleConfig(
            num_steps=16,
            batch_size=8,
            learning_rate=3e-3,
            warmup_steps=2,
            log_every=1,
            checkpoint_every=4,
            num_threads=1,
        ),
        vae_folder=str(folder),
        pools=(
            LatentPoolConfig(num_frames=5, initial=16, capacity=24, fresh_per_step=4, share=0.7),
            LatentPoolConfig(num_frames=9, initial=8, capacity=16, fresh_per_step=4, share=0.3),
        ),
        dit=DiTConfig(in_channels=4, width=24, depth=1, num_heads=2, text_width=12),
        text=TextConfig(width=12, depth=1, num_heads=2),
        size=32,
        muon_learning_rate=5e-3,
    )


def log_of(folder: Path, name: str = "loss") -> list[Any]:
    return [json.loads(line)[name] for line in (folder / "log.jsonl").read_text().splitlines()]


def test_training_learns_and_its_folder_generates(config: DiTTrainConfig, tmp_path: Path) -> None:
    long = replace(config, schedule=replace(config.schedule, num_steps=60))
    train_dit(long, tmp_path)
    values = log_of(tmp_path)
    assert np.mean(values[-10:]) < 0.95 * np.mean(values[:10])
    assert read_spec(tmp_path / "model").vocabulary == vocabulary_of(("narrow",))
    assert all(len(row) == 4 for row in log_of(tmp_path, "loss_by_level"))
    pipe = videogen.load(str(tmp_path / "model"))
    clip = pipe("a red circle", num_frames=5, height=32, width=32, num_inference_steps=2)
    assert clip.to_array().shape == (5, 32, 32, 3)


@pytest.mark.parametrize("pools", ["kept", "lost", "newer"])
def test_an_interrupted_run_goes_on_as_if_it_had_not_stopped(
    config: DiTTrainConfig, tmp_path: Path, pools: str
) -> None:
    train_dit(config, tmp_path / "whole")
    train_dit(config, tmp_path / "parts", stop_at=7)
    for path in (tmp_path / "parts").glob("latents-*"):
        if pools == "lost":
            path.unlink()
        elif pools == "newer":  # killed between the pools and the checkpoint
            shutil.copy(tmp_path / "whole" / path.name, path)
    train_dit(config, tmp_path / "parts")
    assert log_of(tmp_path / "parts") == log_of(tmp_path / "whole")


def test_parts_of_a_batch_add_up_to_the_whole(config: DiTTrainConfig, tmp_path: Path) -> None:
    train_dit(config, tmp_path / "whole", stop_at=4)
    train_dit(replace(config, accumulate=3), tmp_path / "parts", stop_at=4)
    assert log_of(tmp_path / "parts") == pytest.approx(log_of(tmp_path / "whole"), rel=1e-4)


def test_vocabulary_holds_the_words_of_its_worlds_alone() -> None:
    narrow, wide = vocabulary_of(("narrow",)), vocabulary_of(("wide",))
    assert {"red", "circle", "right"} <= set(narrow)
    assert set(narrow) < set(wide) <= set(WORDS)


def test_prompts_are_dropped_and_disturbed_at_their_rates(config: DiTTrainConfig) -> None:
    rng = np.random.default_rng(0)
    prompts = [training_prompt(numbered_scene(0, i, ("narrow",)), rng, config) for i in range(3000)]
    empty = np.mean([prompt == "" for prompt in prompts])
    disturbed = np.mean(["zzz" in prompt for prompt in prompts])
    nonsense = np.mean([set(prompt.split()) == {"zzz"} for prompt in prompts])
    assert abs(empty - 0.1) < 0.02
    assert abs(disturbed - 0.09) < 0.02
    assert abs(nonsense - 0.027) < 0.012


def test_what_is_where_is_learned_beside_the_noise(config: DiTTrainConfig, tmp_path: Path) -> None:
    reading = replace(config, map_weight=0.5, map_block=1, text_weight=0.1)
    train_dit(reading, tmp_path / "whole")
    train_dit(reading, tmp_path / "parts", stop_at=7)
    train_dit(reading, tmp_path / "parts")
    for name in ("loss", "map_loss", "text_loss"):
        assert log_of(tmp_path / "parts", name) == log_of(tmp_path / "whole", name)
    load_model(tmp_path / "whole/model")
    train_dit(config, tmp_path / "without")
    both, maps, words = (
        log_of(tmp_path / "whole", name)[0] for name in ("loss", "map_loss", "text_loss")
    )
    assert both - 0.5 * maps - 0.1 * words == pytest.approx(
        log_of(tmp_path / "without")[0], rel=1e-6
    )
    train_dit(replace(reading, accumulate=2), tmp_path / "accumulated", stop_at=1)
    for name in ("map_loss", "text_loss"):
        in_parts = log_of(tmp_path / "accumulated", name)
        assert in_parts == pytest.approx(log_of(tmp_path / "whole", name)[:1], rel=1e-5)


def test_a_model_is_given_a_stage_at_single_cells(config: DiTTrainConfig, tmp_path: Path) -> None:
    start = replace(config, schedule=replace(config.schedule, num_steps=4))
    train_dit(start, tmp_path / "start")
    begun = replace(start, start_from=str(tmp_path / "start" / "model"))
    grown = replace(begun, dit=replace(begun.dit, detail_depth=1, detail_width=8))
    for name, settings in (("same", begun), ("grown", grown)):
        train_dit(settings, tmp_path / name)
    same, changed = log_of(tmp_path / "same"), log_of(tmp_path / "grown")
    assert changed[0] == same[0]
    assert changed[-1] != same[-1]
    assert read_spec(tmp_path / "grown" / "model").dit.detail_depth == 1


def test_a_start_of_another_shape_is_refused(config: DiTTrainConfig, tmp_path: Path) -> None:
    start = replace(config, schedule=replace(config.schedule, num_steps=1))
    train_dit(start, tmp_path / "start")
    other = replace(
        start, start_from=str(tmp_path / "start" / "model"), dit=replace(start.dit, depth=2)
    )
    with pytest.raises(ConfigError, match=r"start_from: got .*depth=1.* expected .*depth=2"):
        train_dit(other, tmp_path / "other")


@pytest.mark.parametrize("block", [0, 2])
def test_maps_behind_a_block_that_is_not_there_are_refused(
    config: DiTTrainConfig, block: int
) -> None:
    with pytest.raises(ConfigError, match=f"map_block: got {block}, expected 1 to 1"):
        replace(config, map_weight=0.5, map_block=block)
