"""Frames through decord, for the files where it gives the values PyAV gives.

decord 0.6 carries FFmpeg 4.1: no AV1, other rounding for 10-bit video, and some sizes of 16 pixels
and below it cannot copy out. Frames that are to be shown turned it turns.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from videogen.errors import MediaError, MissingDependencyError
from videogen.media.container import check_seal, decoded_frames, quarter_turns
from videogen.media.spec import VideoInfo

CODECS = {"h264", "hevc", "vp9"}
PIXEL_FORMATS = {"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p"}

GetFrames = Callable[[range], np.ndarray]


def load_decord() -> Any:
    """The decord module, silenced.

    Raises:
        MissingDependencyError: it is not installed, or does not load on this machine.
    """
    try:
        decord = import_module("decord")
    except (ImportError, OSError, RuntimeError) as error:
        raise MissingDependencyError(
            f"decord: got '{error}' importing it, expected it installed. Fix: use backend='auto' "
            "or 'pyav', or pip install decord (Linux on x86-64)."
        ) from error
    decord.logging.set_level(decord.logging.QUIET)
    return decord


def open_with_decord(path: Path, info: VideoInfo) -> GetFrames:
    """Prove a file whole, open it with decord and try its first frame.

    A file without our seal is decoded once by PyAV first: decord conceals broken slices, returning
    made-up pixels for them, and complains on stderr of worse damage.

    Returns:
        A function from a range of frame indices to RGB uint8 `t h w c`, padding included.

    Raises:
        MissingDependencyError: decord is not there.
        MediaError: the file is damaged, or decord cannot read it with the values PyAV gives.
    """
    decord = load_decord()
    if info.codec not in CODECS or info.pixel_format not in PIXEL_FORMATS:
        raise _unable(path, f"it is {info.codec} in {info.pixel_format}")
    if quarter_turns(path):
        raise _unable(path, "it is to be shown turned, which decord does and PyAV leaves to others")
    num_frames = info.num_frames if check_seal(path) else sum(1 for _ in decoded_frames(path))
    failures = (decord.DECORDError, RuntimeError, AssertionError)

    def get_frames(indices: range) -> np.ndarray:
        try:
            batch = reader.get_batch(indices)
        except failures as error:
            raise _unable(path, _last_line(error)) from error
        # A framework chosen with decord.bridge returns its own arrays.
        return batch.asnumpy() if hasattr(batch, "asnumpy") else np.asarray(batch)

    try:
        reader = decord.VideoReader(str(path.absolute()), num_threads=1)
    except failures as error:
        raise _unable(path, _last_line(error)) from error
    if not len(reader) == num_frames == info.num_frames:
        raise _unable(path, f"it finds {len(reader)} frames of {num_frames}")
    get_frames(range(1))
    return get_frames


def _unable(path: Path, why: str) -> MediaError:
    return MediaError(
        f"decord: got {path}, which it cannot read ({why}), expected 8-bit {', '.join(CODECS)}. "
        "Fix: use backend='auto' or 'pyav'."
    )


def _last_line(error: BaseException) -> str:
    return str(error).strip().rpartition("\n")[2][:200]
