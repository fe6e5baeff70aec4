"""Clips to encode, and ways to make a file look as if another program wrote it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

ONE = 1 << 16  # in fixed point
COSINES = ((1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0))
"""Of so many quarter turns anticlockwise, row by row."""
MakeClip = Callable[..., np.ndarray]


@pytest.fixture(scope="session")
def make_clip() -> MakeClip:
    """`make_clip(num_frames, height, width)`: smooth colours that move, RGB uint8 `t h w c`."""

    def make(num_frames: int = 9, height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
        t, y, x = np.mgrid[:num_frames, :height, :width].astype(np.float32)
        waves = (x + 2 * t + seed) / 9, (y - t) / 11, (x + y + 3 * t) / 17
        return (127.5 + 110 * np.sin(np.stack(waves, -1))).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def remux() -> Callable[[Path, Path], Path]:
    """Copy the packets of one file into another container, as `ffmpeg -c copy` does."""

    def copy(source: Path, target: Path) -> Path:
        with av.open(str(source)) as reading, av.open(str(target), "w") as writing:
            stream = writing.add_stream_from_template(reading.streams.video[0])
            for packet in reading.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    writing.mux(packet)
        return target

    return copy


@pytest.fixture(scope="session")
def unseal() -> Callable[[bytes], bytes]:
    """The bytes of a file without the seal, which is its last box: 8 + 16 + 32 bytes."""
    return lambda data: data[:-56]


@pytest.fixture(scope="session")
def turn() -> Callable[[Path, int], None]:
    """`turn(path, turns)`: an MP4 says that it is to be shown turned by quarters, anticlockwise."""

    def change(path: Path, turns: int) -> None:
        a, b, c, d = (ONE * value for value in COSINES[turns % 4])
        data = bytearray(path.read_bytes())
        at = data.index(b"tkhd") + 44  # the matrix of the track's header
        data[at : at + 36] = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], ">i4").tobytes()
        path.write_bytes(data)

    return change
