"""The text-video encoder: any clip fits, order counts, and damaged folders are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from videogen.errors import ConfigError, MediaError, WeightsError
from videogen.models.config import TextConfig
from videogen.models.text_video import TextVideoEncoder
from videogen.models.text_video_folder import WEIGHTS_FILE, load_text_video, save_text_video
from videogen.models.text_video_frames import clip_tensor, even_places
from videogen.models.text_video_spec import SPEC_FILE, TextVideoConfig

CONFIG = TextVideoConfig(
    num_frames=4,
    size=32,
    early_width=4,
    late_width=8,
    width=16,
    depth=1,
    num_heads=2,
    embedding=8,
    text=TextConfig(width=16, depth=1, num_heads=2, max_tokens=16),
)
WORDS = ("a", "ball", "blue", "left", "red", "right")


@pytest.fixture
def encoder() -> TextVideoEncoder:
    torch.manual_seed(0)
    return TextVideoEncoder(CONFIG, WORDS).eval()


def test_frames_are_chosen_evenly_from_any_length() -> None:
    assert even_places(17, 5) == [0, 4, 8, 12, 16]
    assert even_places(1, 3) == [0, 0, 0]
    assert even_places(3, 4) == [0, 1, 1, 2]
    assert even_places(9, 1) == [0]


def test_clips_of_all_lengths_and_sizes_become_one_tensor() -> None:
    clips = [np.full((t, h, w, 3), 255, np.uint8) for t, h, w in ((1, 32, 32), (9, 17, 70))]
    clips[1][4:] = 0
    frames = clip_tensor(clips, 4, 32)
    assert frames.shape == (2, 4, 3, 32, 32)
    assert frames[0].eq(1).all()
    assert [float(f.mean()) for f in frames[1]] == pytest.approx([1, 1, -1, -1])
    with pytest.raises(MediaError, match="a frame or more"):
        clip_tensor([clips[0][:0]], 4, 32)


@torch.no_grad()
def test_vectors_have_length_one_and_tell_orders_apart(encoder: TextVideoEncoder) -> None:
    rng = np.random.default_rng(0)
    clip = rng.integers(0, 255, (6, 32, 32, 3), np.uint8)
    forwards, backwards = encoder.encode_video(clip_tensor([clip, clip[::-1]], 4, 32))
    assert float(forwards @ forwards) == pytest.approx(1, abs=1e-5)
    assert not torch.allclose(forwards, backwards, atol=1e-3)
    one, other, _ = encoder.encode_text(
        ["red ball left blue ball", "blue ball left red ball", "a red ball left blue ball right"]
    )
    assert float(one @ one) == pytest.approx(1, abs=1e-5)
    assert not torch.allclose(one, other, atol=1e-3)
    alone = encoder.encode_text(["RED ball, left: blue ball"])[0]
    assert torch.allclose(alone, one, atol=1e-6), "padding and punctuation change nothing"


def test_a_folder_gives_the_encoder_back(encoder: TextVideoEncoder, tmp_path: Path) -> None:
    spec = save_text_video(tmp_path, encoder, "tiny", {"worlds": ["narrow"]})
    loaded, read = load_text_video(tmp_path)
    assert read == spec
    assert loaded.text.vocabulary == WORDS
    clip = torch.zeros(1, 4, 3, 32, 32)
    assert torch.allclose(loaded.encode_video(clip), encoder.encode_video(clip), atol=1e-2)


def test_damaged_and_foreign_folders_are_refused(encoder: TextVideoEncoder, tmp_path: Path) -> None:
    save_text_video(tmp_path, encoder, "tiny")
    weights, spec = tmp_path / WEIGHTS_FILE, tmp_path / SPEC_FILE
    said = spec.read_text()
    spec.write_text(said.replace("files:", "others:"))
    with pytest.raises(ConfigError, match="others: unknown field"):
        load_text_video(tmp_path)
    spec.write_text(said.replace(f"{WEIGHTS_FILE}:", "else.safetensors:"))
    with pytest.raises(WeightsError, match="expected"):
        load_text_video(tmp_path)
    spec.write_text(said.replace("embedding: 8", "embedding: 9"))
    with pytest.raises(WeightsError, match="does not fit"):
        load_text_video(tmp_path)
    spec.write_text(said)
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError, match="damaged"):
        load_text_video(tmp_path)
    weights.unlink()
    with pytest.raises(WeightsError, match="missing"):
        load_text_video(tmp_path)


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"size": 40}, "size: got 40"),
        ({"num_heads": 5}, "num_heads: got 5"),
        ({"num_frames": 1}, "2"),
    ],
)
def test_sizes_that_do_not_fit_are_named(wrong: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        TextVideoConfig(**wrong)
