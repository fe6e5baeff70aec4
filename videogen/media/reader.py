"""Reads video files chunk by chunk, through decord where it is installed and PyAV otherwise.

Both give the same values, bit for bit; files where decord would not are read with PyAV. Damage is
never concealed: our own files carry a seal (`videogen.media.boxes`), others are decoded strictly.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from videogen.errors import ConfigError, MediaError, MissingDependencyError
from videogen.media.container import decoded_frames, describe
from videogen.media.decord_reader import GetFrames, load_decord, open_with_decord
from videogen.media.pixels import YuvToRgb
from videogen.media.spec import VideoInfo
from videogen.registry import did_you_mean

Backend = Literal["auto", "decord", "pyav"]
BACKENDS: tuple[Backend, ...] = ("auto", "decord", "pyav")


def probe(path: str | Path) -> VideoInfo:
    """What a file says about itself: frames, size in pixels, rate, duration, codec, metadata.

    Raises:
        MediaError: the file is missing, empty, cut short or not a video.
    """
    return describe(path)


def iter_video(
    path: str | Path, chunk: int = 32, backend: Backend = "auto"
) -> Iterator[np.ndarray]:
    """Decode a file in order, `chunk` frames at a time (fewer in the last); memory stays bounded.

    Args:
        path: any MP4, MOV, MKV, WebM, AVI, … that libav decodes.
        chunk: frames per array.
        backend: "pyav", "decord", or "auto" for decord where it is installed and can.

    Returns:
        An iterator of RGB uint8 arrays `t h w c`.

    Raises:
        MediaError: the file is missing, empty, not a video, cut short or damaged; what only
            decoding can tell is raised by the iterator.
        ConfigError: no such backend, or `chunk` below 1.
        MissingDependencyError: decord was asked for and is not installed.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"backend: got '{backend}', {did_you_mean(backend, list(BACKENDS))}")
    if chunk < 1:
        raise ConfigError(f"chunk: got {chunk}, expected at least 1 frame.")
    path = Path(path)
    info = describe(path)
    if backend == "decord":
        load_decord()
    return _read(path, info, chunk, backend)


def read_video(path: str | Path, backend: Backend = "auto") -> tuple[np.ndarray, float]:
    """Decode a whole file into memory.

    Returns:
        RGB uint8 frames `t h w c`, and the frames per second.

    Raises:
        MediaError, ConfigError, MissingDependencyError: as `iter_video`.
    """
    frames = np.concatenate(list(iter_video(path, backend=backend)))
    return frames, describe(path).fps


def _read(path: Path, info: VideoInfo, chunk: int, backend: Backend) -> Iterator[np.ndarray]:
    get_frames = None if backend == "pyav" else _decord_for(path, info, backend)
    if get_frames is None:
        yield from _read_pyav(path, info, chunk)
        return
    for start in range(0, info.num_frames, chunk):
        frames = get_frames(range(start, min(start + chunk, info.num_frames)))
        yield frames[:, : info.height, : info.width]


def _read_pyav(path: Path, info: VideoInfo, chunk: int) -> Iterator[np.ndarray]:
    to_rgb = YuvToRgb(info.height, info.width)
    waiting: list[np.ndarray] = []
    for frame in decoded_frames(path):
        waiting.append(to_rgb(frame))
        if len(waiting) == chunk:
            yield np.stack(waiting)
            waiting.clear()
    if waiting:
        yield np.stack(waiting)


def _decord_for(path: Path, info: VideoInfo, backend: Backend) -> GetFrames | None:
    """decord's view of the file, or None where PyAV is to read it (and to say what is wrong)."""
    try:
        return open_with_decord(path, info)
    except (MissingDependencyError, MediaError):
        if backend == "decord":
            raise
        return None
