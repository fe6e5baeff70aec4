"""The same frames are the same file, whatever this process did before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from videogen.media.codecs import available_codecs
from videogen.media.writer import VideoWriter

LITTER = (5_000, 20_000, 70_000, 200_000)


def noisy_frames(num_frames: int, height: int, width: int) -> np.ndarray:
    """Frames with motion and texture, so that the encoder has decisions to take."""
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.random((num_frames, height // 8, width // 8, 3)), np.ones((1, 8, 8, 1)))
    noise = rng.random((num_frames, height, width, 3))
    return ((0.7 * blocks + 0.3 * noise) * 255).astype(np.uint8)


def litter_memory(rng: np.random.Generator) -> None:
    """Leave other bytes behind in memory that is allocated next."""
    litter = [np.full(size, rng.integers(255), np.uint8) for size in LITTER]
    del litter


@pytest.mark.parametrize("codec", available_codecs())
@pytest.mark.parametrize("shape", [(5, 48, 48), (17, 64, 96)])
def test_the_same_frames_are_the_same_bytes(
    codec: str, shape: tuple[int, int, int], tmp_path: Path
):
    frames = noisy_frames(*shape)
    rng = np.random.default_rng(1)
    path = tmp_path / "clip.mp4"
    files = set()
    for _ in range(25):
        litter_memory(rng)
        with VideoWriter(path, 12, *shape[1:], codec=codec) as writer:
            writer.write(frames)
        files.add(path.read_bytes())
    assert len(files) == 1
