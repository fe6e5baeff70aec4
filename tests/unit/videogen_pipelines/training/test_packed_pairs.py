"""Contrastive training on packed clips, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from videogen.media import VideoWriter
from videogen.models.text_video_folder import load_text_video
from videogen_pipelines.cli.app import run
from videogen_pipelines.data.shards import write_shard

TINY_CONTRASTIVE = """
schema: 1
worlds: [narrow]
hard_negatives: 1
validation_clips: 2
encoder:
  {num_frames: 3, size: 16, early_width: 4, late_width: 4, width: 8, depth: 1, num_heads: 2,
   embedding: 8, text: {width: 8, depth: 1, num_heads: 2, max_tokens: 24}}
schedule: {num_steps: 2, batch_size: 4, learning_rate: 1.0e-3, log_every: 1, num_threads: 1}
"""


def test_trains_a_text_video_encoder_on_packed_clips(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out, shards = tmp_path / "contrastive.yaml", tmp_path / "out", tmp_path / "shards"
    config.write_text(TINY_CONTRASTIVE)
    shards.mkdir()
    words = ("Up", "down", "left", "right", "up", "round")
    samples = [(f"clip-{i}", packed(tmp_path, f"a ball goes {words[i % 6]}", i)) for i in range(24)]
    write_shard(shards / "a.tar", samples)
    command = ["train", "contrastive", str(config), "--data", str(shards), "--out", str(out)]
    assert run([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 2
    _, spec = load_text_video(out / "model")
    assert spec.vocabulary == ("a", "ball", "down", "goes", "left", "right", "round", "up")
    assert run([*command, "--data", str(tmp_path)]) == 0
    write_shard(shards / "a.tar", samples[:3])
    assert run(command) == 2
    assert "got 3 clips with captions" in " ".join(capsys.readouterr().err.split())


def packed(folder: Path, caption: str, seed: int) -> dict[str, bytes]:
    path = folder / "clip.mp4"
    frames = np.random.default_rng(seed).integers(0, 255, (5, 32, 32, 3), np.uint8)
    with VideoWriter(path, 12, 32, 32) as writer:
        writer.write(frames)
    return {"mp4": path.read_bytes(), "json": json.dumps({"caption": caption}).encode()}
