"""Contrastive training: what is no negative, what nearly is, that it learns and resumes exactly."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.tiny_text_video import TINY_TEXT_VIDEO
from videogen.errors import ConfigError, WeightsError
from videogen.models.text_video_folder import load_text_video
from videogen.shapes import ObjectSpec, Scene, canonical_caption
from videogen.shapes.camera import CameraSpec
from videogen.shapes.captions import caption
from videogen.shapes.vocabulary import WORLDS
from videogen.training.clips import numbered_scene
from videogen.training.config import ScheduleConfig
from videogen.training.contrastive_config import ContrastiveTrainConfig, DisturbanceConfig
from videogen.training.contrastive_disturb import disturb
from videogen.training.contrastive_loop import train_contrastive
from videogen.training.contrastive_loss import Vectors, contrastive_loss
from videogen.training.contrastive_meaning import is_true_of
from videogen.training.contrastive_negatives import KINDS, altered
from videogen.training.contrastive_pairs import PairBatch, RenderedPairs

CONFIG = ContrastiveTrainConfig(
    schedule=ScheduleConfig(
        num_steps=30,
        batch_size=8,
        learning_rate=3e-3,
        warmup_steps=2,
        log_every=1,
        checkpoint_every=15,
        num_threads=1,
    ),
    encoder=TINY_TEXT_VIDEO,
    worlds=("narrow",),
    usual_frames=5,
    num_frames=(5, 9),
    hard_negatives=1,
    disturbance=DisturbanceConfig(share=0.1),
    muon_learning_rate=3e-3,
    validation_clips=4,
)
RED = ObjectSpec("red", "circle", "left", 0.6, 0.5, 0.2)
BLUE = ObjectSpec("blue", "square", "up", 0.3, 0.6, 0.15)
PAIR, SINGLE = Scene((RED, BLUE), "black"), Scene((RED,), "navy")
PANNED = Scene((replace(RED, motion="still"),), "dotted navy", CameraSpec("pan left", 0.02))


def true_of(*captions: str) -> list[list[bool]]:
    return is_true_of(captions, [PAIR, SINGLE, PANNED]).T.tolist()


def test_captions_are_true_of_all_scenes_that_show_what_they_say() -> None:
    assert true_of("red", "a scarlet ball", "a blue shape", "a circle moving left") == [
        [True, True, True],
        [True, True, True],
        [True, False, False],
        [True, True, False],
    ]
    assert true_of("a blue box moving up and a red circle moving to the left") == [
        [True, False, False]
    ]
    crossed = "a red circle moving up and a blue square moving left"
    mixed = "a blue circle moving left and a red square moving up"
    assert true_of(crossed, mixed) == [[False] * 3] * 2
    assert (
        true_of("a red circle on a navy background", "dark blue background")
        == [[False, True, False]] * 2
    )
    assert true_of("a red circle, the camera pans left", "a circle, camera zooming in") == [
        [False, False, True],
        [False] * 3,
    ]
    assert true_of("a red ball going round and round and a blue box bouncing up and down") == [
        [False] * 3
    ]


def test_every_caption_is_true_of_its_own_scene() -> None:
    scenes = [numbered_scene(0, i, ("narrow", "wide", "pairs")) for i in range(150)]
    texts = [caption(s, np.random.default_rng(i)) for i, s in enumerate(scenes)]
    assert is_true_of(texts, scenes).diagonal().all()
    whole = is_true_of([canonical_caption(s) for s in scenes], scenes)
    assert whole.sum() < 1.1 * len(scenes), "complete captions are hardly true of other scenes"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_altered_is_no_longer_true(kind: str) -> None:
    rng = np.random.default_rng(0)
    found = 0
    for i in range(60):
        scene = numbered_scene(1, i, ("pairs", "moving cameras", "narrow"))
        other = altered(scene, kind, WORLDS["wide"], rng)
        if other is not None:
            found += 1
            assert not is_true_of([canonical_caption(other)], [scene]).any()
    assert found > 10


def test_the_loss_knows_the_right_pairs_and_leaves_out_true_ones() -> None:
    texts = torch.eye(3)[[0, 1, 2, 2]]
    nothing = torch.zeros(3, 4, dtype=torch.bool)
    masked = nothing.clone()
    masked[2, 3] = True

    def loss_of(texts: Tensor, left_out: Tensor) -> float:
        return float(contrastive_loss(Vectors(torch.eye(3), texts), torch.tensor(50.0), left_out))

    assert loss_of(texts, masked) == pytest.approx(0, abs=1e-6)
    doubled = loss_of(texts, nothing)
    assert doubled == pytest.approx(math.log(2) / 3 / 2, rel=1e-4), "one caption twice, of one side"
    assert loss_of(texts[[1, 0, 2, 2]], masked) == pytest.approx(50 * 2 / 3, rel=1e-3)


def test_batches_are_those_of_their_step() -> None:
    source = RenderedPairs(CONFIG)
    one, again, other = (source.draw(step, 4) for step in (3, 3, 4))
    everywhere, late = range(4), range(2, 4)
    frames = one.clips(everywhere)
    assert torch.equal(frames, again.clips(everywhere))
    assert torch.equal(frames[2:], again.clips(late)), "whatever else is made"
    assert one.captions == again.captions
    assert not torch.equal(frames, other.clips(everywhere))
    assert frames.shape == (4, 3, 3, 16, 16)
    assert len(one.captions) == 4 * (1 + CONFIG.hard_negatives)
    assert one.also_true.shape == (4, 8)
    assert not one.also_true.diagonal().any()


@pytest.mark.parametrize("num_captions", [3, 4, 10, 11])
def test_every_caption_is_of_one_part(num_captions: int) -> None:
    also_true = torch.zeros(3, num_captions, dtype=torch.bool)
    batch = PairBatch(lambda places: torch.zeros(len(places)), ["a"] * num_captions, also_true)
    first, second = batch.texts_at(range(1)), batch.texts_at(range(1, 3))
    assert first[0] == 0
    assert second[:2] == [1, 2]
    assert sorted(first + second) == list(range(num_captions))


def test_disturbing_is_repeatable_and_leaves_a_share_alone() -> None:
    frames = RenderedPairs(CONFIG).draw(0, 8).clips(range(8))
    config = DisturbanceConfig(share=0.5)

    def disturbed() -> torch.Tensor:
        return disturb(frames, config, torch.Generator().manual_seed(1))

    spoiled = disturbed()
    assert torch.equal(spoiled, disturbed())
    kept = [torch.allclose(a, b, atol=1e-6) for a, b in zip(spoiled, frames, strict=True)]
    assert 0 < sum(kept) < 8
    assert float(spoiled.abs().max()) <= 1


def log_of(folder: Path, key: str) -> list[float]:
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [row[key] for row in map(json.loads, lines) if key in row]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    train_contrastive(CONFIG, folder)
    return folder


def test_training_learns_and_leaves_an_encoder_that_loads(whole: Path) -> None:
    values = log_of(whole, "loss")
    assert sum(values[-6:]) < 0.9 * sum(values[:6])
    assert len(log_of(whole, "right_caption")) == 2
    encoder, spec = load_text_video(whole / "model")
    assert spec.trained_on["steps"] == 30
    assert {"red", "moving", "left"} <= set(encoder.text.vocabulary)


def test_an_interrupted_run_goes_on_as_if_it_had_not_stopped(whole: Path, tmp_path: Path) -> None:
    train_contrastive(CONFIG, tmp_path, stop_at=15)
    train_contrastive(CONFIG, tmp_path)
    assert log_of(tmp_path, "loss") == log_of(whole, "loss")
    assert log_of(tmp_path, "right_clip") == log_of(whole, "right_clip")
    parts, at_once = (load_file(folder / "checkpoint.safetensors") for folder in (tmp_path, whole))
    assert all(torch.equal(parts[name], at_once[name]) for name in at_once)


@pytest.mark.parametrize("accumulate", [3, 8])
def test_parts_of_a_batch_add_up_to_the_whole(whole: Path, tmp_path: Path, accumulate: int) -> None:
    train_contrastive(replace(CONFIG, accumulate=accumulate), tmp_path, stop_at=5)
    for name in ("loss", "gradient_norm", "scale"):
        assert log_of(tmp_path, name) == pytest.approx(log_of(whole, name)[:5], rel=1e-4)


def test_a_checkpoint_of_the_former_loop_is_refused(whole: Path, tmp_path: Path) -> None:
    former = {
        f"encoder/{name.removeprefix('weight/encoder.')}": tensor
        for name, tensor in load_file(whole / "checkpoint.safetensors").items()
        if name.startswith("weight/")
    }
    save_file({**former, "step": torch.tensor(15)}, tmp_path / "checkpoint.safetensors")
    with pytest.raises(WeightsError, match="use another --out folder"):
        train_contrastive(CONFIG, tmp_path)


def test_data_needs_somebody_who_reads_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a source of pairs"):
        train_contrastive(replace(CONFIG, data="shards"), tmp_path)


def test_it_starts_from_another_encoder_of_the_same_sizes(whole: Path, tmp_path: Path) -> None:
    still = replace(CONFIG.schedule, learning_rate=0.0)
    start = str(whole / "model")
    worlds = ("narrow", "moving cameras")
    config = replace(
        CONFIG, start_from=start, worlds=worlds, schedule=still, muon_learning_rate=0.0
    )
    train_contrastive(config, tmp_path / "on", stop_at=1)
    encoder, spec = load_text_video(tmp_path / "on" / "model")
    assert "zooming" in spec.vocabulary
    clip = torch.zeros(1, 3, 3, 16, 16)
    before = load_text_video(whole / "model")[0]
    assert torch.equal(encoder.encode_video(clip), before.encode_video(clip))
    for prompt in ("a red ball moving left", "zzz"):
        assert torch.equal(encoder.encode_text([prompt]), before.encode_text([prompt]))
    other = replace(config, encoder=replace(CONFIG.encoder, width=32))
    with pytest.raises(WeightsError, match="Fix: set encoder to the sizes"):
        train_contrastive(other, tmp_path / "other", stop_at=1)
