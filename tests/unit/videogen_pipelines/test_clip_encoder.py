"""Frames go to a file in another thread, in order; errors come back, and nothing is left behind."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from videogen.errors import EncodeError
from videogen.media import probe, read_video
from videogen.requests import ClipRequest
from videogen_pipelines.clip_encoder import MAX_WAITING_CHUNKS, ClipEncoder

HEIGHT, WIDTH = 32, 48


def request() -> ClipRequest:
    return ClipRequest(
        id="a",
        prompt="p",
        seed=1,
        num_frames=9,
        height=HEIGHT,
        width=WIDTH,
        fps=8.0,
        num_inference_steps=2,
        guidance_scale=1.0,
        sampler="euler",
    )


def grey(level: int, num_frames: int = 1, width: int = WIDTH) -> np.ndarray:
    return np.full((num_frames, HEIGHT, width, 3), level, np.uint8)


@pytest.fixture
def seen() -> list[int]:
    return []


@pytest.fixture
def encoder(tmp_path: Path, seen: list[int]) -> ClipEncoder:
    target = tmp_path / "a.mp4"
    return ClipEncoder(target, request(), "h264", None, {"clip_id": "x"}, seen.append)


def test_frames_arrive_in_order(encoder: ClipEncoder, tmp_path: Path, seen: list[int]):
    for index, count in enumerate((1, 4, 4)):
        encoder.put(grey(40 + 60 * index, count))
    assert encoder.close() > 0
    frames, fps = read_video(tmp_path / "a.mp4")
    assert fps == 8.0
    assert [round(float(frame.mean()), -1) for frame in frames] == [40] + [100] * 4 + [160] * 4
    assert seen == [1, 5, 9]
    assert probe(tmp_path / "a.mp4").metadata["clip_id"] == "x"


def test_an_aborted_clip_leaves_no_file_and_no_thread(encoder: ClipEncoder, tmp_path: Path):
    encoder.put(grey(10))
    encoder.abort()
    assert list(tmp_path.iterdir()) == []
    assert not [thread for thread in threading.enumerate() if thread.name == "encode"]


@pytest.mark.timeout(30)
def test_an_error_reaches_whoever_puts_and_whoever_closes(encoder: ClipEncoder, tmp_path: Path):
    with pytest.raises(EncodeError, match="shape"):
        for _ in range(20 * MAX_WAITING_CHUNKS):
            encoder.put(grey(10, width=WIDTH + 2))
    with pytest.raises(EncodeError, match="shape"):
        encoder.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(30)
def test_a_clip_without_frames_is_an_error(encoder: ClipEncoder, tmp_path: Path):
    with pytest.raises(EncodeError, match="none"):
        encoder.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(30)
def test_memory_between_decoder_and_encoder_is_bounded(tmp_path: Path):
    gate = threading.Event()
    encoder = ClipEncoder(
        tmp_path / "a.mp4", request(), "h264", None, {}, lambda _: bool(gate.wait(20))
    )
    accepted = 0

    def feed() -> None:
        nonlocal accepted
        for _ in range(9):
            encoder.put(grey(10))
            accepted += 1

    feeder = threading.Thread(target=feed)
    feeder.start()
    feeder.join(1.0)
    assert accepted <= MAX_WAITING_CHUNKS + 1
    gate.set()
    feeder.join()
    encoder.close()
    assert accepted == 9
