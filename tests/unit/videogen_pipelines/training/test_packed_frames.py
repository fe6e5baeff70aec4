"""A VAE trained on packed clips: windows from anywhere, by seed and step, and clips held out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from videogen.errors import ConfigError
from videogen.media import VideoWriter
from videogen.models.config import VAEConfig
from videogen.training.config import ScheduleConfig, VAETrainConfig
from videogen_pipelines.cli.app import run
from videogen_pipelines.data.shards import write_shard
from videogen_pipelines.training.packed_frames import PackedFrames, random_crop

NUM_FRAMES = 9


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten grey clips of 9 frames, the lighter the later; and one that is too short."""
    root = tmp_path_factory.mktemp("packed")
    samples = [
        (f"clip-{i}", sample(root, 20 * i, NUM_FRAMES, described=i % 2 == 0)) for i in range(10)
    ]
    samples.append(("short", sample(root, 250, 3, described=True)))
    write_shard(root / "a.tar", samples[::2])
    write_shard(root / "b.tar", samples[1::2])
    return root


def sample(root: Path, first: int, count: int, described: bool) -> dict[str, bytes]:
    path = root / "clip.mp4"
    frames = np.zeros((count, 40, 56, 3), np.uint8) + first
    frames += (2 * np.arange(count, dtype=np.uint8))[:, None, None, None]
    with VideoWriter(path, 12, 40, 56) as writer:
        writer.write(frames)
    said = {"caption": "grey", "num_frames": count} if described else {"caption": "grey"}
    return {"mp4": path.read_bytes(), "json": json.dumps(said).encode()}


@pytest.fixture
def config(shards: Path) -> VAETrainConfig:
    schedule = ScheduleConfig(num_steps=4, batch_size=2, learning_rate=1e-3)
    return VAETrainConfig(
        schedule=schedule, vae=VAEConfig(), data=str(shards), num_frames=5, size=32
    )


def test_windows_are_consecutive_frames_and_follow_from_the_step(config: VAETrainConfig) -> None:
    source = PackedFrames(config)
    assert (len(source.clips), len(source.held_out)) == (9, 1)
    drawn = torch.cat([source.training(step, range(2)) for step in range(12)])
    assert drawn.shape == (24, 3, 5, 32, 32)
    levels = ((drawn.mean(dim=(1, 3, 4)) + 1) * 127.5).round()
    steps = levels[:, 1:] - levels[:, :-1]
    assert (steps - 2).abs().max() <= 1
    firsts = (levels[:, 0] + 1) // 20
    starts = (levels[:, 0] - 20 * firsts).unique()
    assert len(starts) > 2, "windows start anywhere"
    assert torch.equal(PackedFrames(config).training(3, range(1, 2)), drawn[7:8])
    validation = source.validation()
    assert validation.shape == (1, 3, 5, 32, 32)
    grey = ((validation[0, :, 0].mean() + 1) * 127.5).round()
    assert float((grey + 1) // 20) not in firsts.tolist()
    assert len(firsts.unique()) > 5


def test_crops_show_wholes_and_details() -> None:
    ramp = np.linspace(0, 255, 128).astype(np.uint8)
    frames = np.broadcast_to(ramp[None, None, :, None], (2, 64, 128, 3))
    rng = np.random.default_rng(0)
    spans = []
    for _ in range(40):
        crop = random_crop(frames, 32, rng)
        assert len(crop) == 2 and crop[0].shape == (32, 32, 3)
        spans.append(int(crop[0][0, -1, 0]) - int(crop[0][0, 0, 0]))
    assert min(spans) < 75 and max(spans) > 110, "from 31 px of the width to 62"
    larger = random_crop(frames[:, :16, :16], 32, rng)
    assert larger[0].shape == (32, 32, 3)


def test_what_cannot_be_trained_on_is_named(config: VAETrainConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no clip of 17 frames or more"):
        PackedFrames(replace(config, num_frames=17))
    with pytest.raises(ConfigError, match=r"got no \.tar file"):
        PackedFrames(replace(config, data=str(tmp_path)))
    (tmp_path / "a.tar").write_bytes(b"x" * 1024)
    with pytest.raises(ConfigError, match="cannot be read"):
        PackedFrames(replace(config, data=str(tmp_path)))


def test_train_vae_takes_packed_clips(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "vae.yaml", tmp_path / "out"
    path.write_text(
        "schema: 1\nnum_frames: 5\nsize: 32\nvae: {latent_channels: 4, widths: [8, 8, 8]}\n"
        "schedule: {num_steps: 2, batch_size: 2, learning_rate: 1.0e-3, log_every: 1}\n"
    )
    command = ["train", "vae", str(path), "--data", str(shards), "--out", str(out), "--json"]
    assert run(command) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["step"] == 2 and said["psnr_db"] > 0 and said["out"] == str(out)
