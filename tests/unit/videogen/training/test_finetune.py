"""Fine-tuning: it learns, resumes exactly, learns words, and adapters stay small."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.encoded import write_encoded
from videogen.errors import ConfigError, WeightsError
from videogen.models.latents_digest import latents_digest
from videogen.models.text import WordEncoder
from videogen.models.weights import Model, load_model, save_model
from videogen.training.config import FineTuneConfig, ScheduleConfig
from videogen.training.draws import draw
from videogen.training.encoded_clips import EncodedClips
from videogen.training.finetune import finetune
from videogen.training.loop import Hooks
from videogen.training.vocabulary import with_words_of
from videogen.training.world import World


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return load_model(tiny_model)


@pytest.fixture(scope="module")
def config(
    tiny_model: Path, model: Model, tmp_path_factory: pytest.TempPathFactory
) -> FineTuneConfig:
    data = write_encoded(tmp_path_factory.mktemp("shards"), model, {5: 12, 9: 6, 1: 4})
    schedule = ScheduleConfig(
        num_steps=10,
        batch_size=6,
        learning_rate=3e-3,
        warmup_steps=2,
        log_every=1,
        checkpoint_every=5,
        num_threads=1,
    )
    return FineTuneConfig(schedule=schedule, model=str(tiny_model), data=str(data))


def log_of(folder: Path, name: str = "loss") -> list[float]:
    return [json.loads(line)[name] for line in (folder / "log.jsonl").read_text().splitlines()]


def test_training_learns_and_its_folder_loads(config: FineTuneConfig, tmp_path: Path) -> None:
    long = replace(config, schedule=replace(config.schedule, num_steps=60))
    saved: list[int] = []
    finetune(long, tmp_path, hooks=Hooks(on_save=lambda step, model: saved.append(step)))
    losses = log_of(tmp_path)
    assert sum(losses[-15:]) < 0.9 * sum(losses[:15])
    assert saved == list(range(5, 61, 5))
    learned = load_model(tmp_path / "model")
    assert learned.spec.name == "finetuned"
    levels = [row for row in log_of(tmp_path, "loss_by_level") if all(row)]
    assert levels and all(len(row) == 4 for row in levels)


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_an_interrupted_run_goes_on_as_if_it_had_not_stopped(
    config: FineTuneConfig, tmp_path: Path, lora_rank: int
) -> None:
    config = replace(config, lora_rank=lora_rank)
    finetune(config, tmp_path / "whole")
    finetune(config, tmp_path / "parts", stop_at=7)
    with (tmp_path / "parts" / "log.jsonl").open("a") as log:
        log.write('{"step": 8, "loss": 1}\n')  # killed before the checkpoint of that step
    finetune(config, tmp_path / "parts")
    assert log_of(tmp_path / "parts") == log_of(tmp_path / "whole")
    name = "lora.safetensors" if lora_rank else "model/dit.safetensors"
    parts, whole = (load_file(tmp_path / part / name) for part in ("parts", "whole"))
    assert all(torch.equal(parts[key], whole[key]) for key in whole)


def test_parts_of_a_batch_add_up_to_the_whole(config: FineTuneConfig, tmp_path: Path) -> None:
    finetune(config, tmp_path / "whole")
    finetune(replace(config, accumulate=4), tmp_path / "parts")
    finetune(replace(config, checkpoint_blocks=True), tmp_path / "again")
    expected = pytest.approx(log_of(tmp_path / "whole"), rel=1e-4)
    assert log_of(tmp_path / "parts") == expected
    assert log_of(tmp_path / "again") == expected


def test_adapters_change_what_the_model_makes_and_nothing_else(
    config: FineTuneConfig, model: Model, tmp_path: Path
) -> None:
    made = []
    config = replace(config, lora_rank=2)
    hooks = Hooks(on_save=lambda step, model: made.append(model))
    finetune(config, tmp_path, stop_at=5, hooks=hooks)
    x, levels = torch.randn(1, 4, 2, 4, 4), torch.full((1, 2), 500.0)
    text = model.text.encode(["a red circle"])
    with torch.no_grad():
        before, after = model.dit(x, levels, text=text), made[0].dit(x, levels, text=text)
        dit = load_model(config.model).dit
        assert torch.equal(dit(x, levels, text=text), before)
        for name, tensor in _products(load_file(tmp_path / "lora.safetensors")).items():
            dit.get_parameter(f"{name}.weight").add_(tensor)
        merged = dit(x, levels, text=text)
    assert not torch.equal(before, after)
    torch.testing.assert_close(merged, after, atol=1e-5, rtol=1e-4)


def _products(adapters: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    names = {key.removesuffix(".lora_A.weight") for key in adapters if key.endswith("A.weight")}
    return {
        name.removeprefix("transformer."): adapters[f"{name}.lora_B.weight"]
        @ adapters[f"{name}.lora_A.weight"]
        for name in names
    }


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_the_result_recommends_what_most_clips_are(
    model: Model, tiny_model: Path, config: FineTuneConfig, tmp_path: Path, lora_rank: int
) -> None:
    data = write_encoded(tmp_path / "data", model, {5: 2, 9: 3, 1: 4}, fps=30.0)
    config = replace(config, data=str(data), model=str(tiny_model), lora_rank=lora_rank)
    notes: list[str] = []
    made: list[Model] = []
    hooks = Hooks(on_save=lambda step, model: made.append(model), on_note=notes.append)
    finetune(config, tmp_path / "out", stop_at=1, hooks=hooks)
    expected = {"num_frames": 9, "height": 32, "width": 32, "fps": 30.0}
    assert expected.items() <= made[0].spec.sampling.items()
    assert len(notes) == 1
    assert "most clips have 9 frames, 30 fps; tiny recommends 5 frames; " in notes[0]
    if not lora_rank:
        result = load_model(tmp_path / "out" / "model").spec
        assert result.sampling == model.spec.sampling | expected
        again = replace(config, model=str(tmp_path / "out" / "model"))
        finetune(again, tmp_path / "again", stop_at=1, hooks=hooks)
        assert len(notes) == 1


def test_latents_of_another_vae_are_refused(
    config: FineTuneConfig, model: Model, tmp_path: Path
) -> None:
    def save(name: str, part: str) -> str:
        other = copy.deepcopy(model)
        with torch.no_grad():
            next(p for n, p in other.vae.named_parameters() if n.startswith(part)).mul_(1.5)
        save_model(tmp_path / name, other.spec, other.dit, other.vae, _module(other.text))
        return latents_digest(tmp_path / name)

    data = tmp_path / "data"
    shutil.copytree(config.data, data)
    config = replace(config, data=str(data))
    encoded = {"model": "one", "vae_digest": save("decoder", "decoder")}
    (data / "encode.json").write_text(json.dumps(encoded))
    finetune(config, tmp_path / "out", stop_at=1)
    assert latents_digest(tmp_path / "out" / "model") == encoded["vae_digest"]
    encoded = {"model": "other", "vae_digest": save("encoder", "encoder")}
    (data / "encode.json").write_text(json.dumps(encoded))
    with pytest.raises(ConfigError, match=r"latents of the VAE of other .*, expected those of /"):
        finetune(config, tmp_path / "out")


def _module(text: object) -> torch.nn.Module:
    assert isinstance(text, torch.nn.Module)
    return text


def test_new_words_are_learned_and_old_prompts_mean_the_same(model: Model) -> None:
    text = model.text
    assert isinstance(text, WordEncoder)
    larger = with_words_of(text, ["turquoise circle", "red circle"])
    assert set(larger.vocabulary) - set(text.vocabulary) == {"turquoise"}
    old, new = text.encode(["red circle"]).tokens, larger.encode(["red circle"]).tokens
    assert torch.equal(old, new)
    assert not larger.unknown_words("turquoise circle")
    assert with_words_of(text, ["red circle"]) is text


def test_a_step_is_the_same_for_any_number_of_workers(config: FineTuneConfig) -> None:
    clips = EncodedClips(config.data)
    first, again = (draw(config, clips.buckets, 3) for _ in range(2))
    assert first.indices == again.indices
    assert torch.equal(first.noise(2, (4, 2, 4, 4)), again.noise(2, (4, 2, 4, 4)))
    assert draw(config, clips.buckets, 4).seed != first.seed
    for size in (1, 2, 3, 4):
        parts = [range(6)[World(rank, size).part(6)] for rank in range(size)]
        assert [place for part in parts for place in part] == list(range(6))


def test_every_shape_is_drawn(config: FineTuneConfig) -> None:
    clips = EncodedClips(config.data)
    drawn = [draw(config, clips.buckets, step) for step in range(60)]
    shapes = {clips.clips[d.indices[0]].shape for d in drawn}
    assert shapes == set(clips.buckets)
    assert all(len({clips.clips[i].shape for i in d.indices}) == 1 for d in drawn)


def test_wrong_data_is_named(config: FineTuneConfig, tmp_path: Path, model: Model) -> None:
    with pytest.raises(ConfigError, match=r"got no \.tar file, expected shards"):
        finetune(replace(config, data=str(tmp_path)), tmp_path / "out")
    (tmp_path / "a.tar").write_bytes(b"x" * 1024)
    with pytest.raises(ConfigError, match="cannot be read"):
        finetune(replace(config, data=str(tmp_path)), tmp_path / "out")
    with pytest.raises(ConfigError, match="encode the clips with the model that is trained"):
        finetune(replace(config, model="default"), tmp_path / "out")
    with pytest.raises(ConfigError, match="Muon needs whole matrices"):
        finetune(replace(config, lora_rank=2, muon_learning_rate=0.1), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_another_configuration_is_refused(
    config: FineTuneConfig, tmp_path: Path
) -> None:
    finetune(config, tmp_path, stop_at=1)
    with pytest.raises(WeightsError, match="does not fit this configuration"):
        finetune(replace(config, lora_rank=2), tmp_path)


def test_adapters_do_not_go_on_beside_other_weights(
    config: FineTuneConfig, model: Model, tmp_path: Path
) -> None:
    config = replace(config, lora_rank=2)
    finetune(config, tmp_path / "out", stop_at=1)
    with torch.no_grad():
        dit = copy.deepcopy(model.dit)
        next(dit.parameters()).mul_(1.5)
    assert isinstance(model.text, WordEncoder)
    save_model(tmp_path / "other", model.spec, dit, model.vae, model.text)
    with pytest.raises(WeightsError, match="started from another model"):
        finetune(replace(config, model=str(tmp_path / "other")), tmp_path / "out")
