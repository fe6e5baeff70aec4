"""Writes frames into an MP4 as they come: bounded memory, same bytes for the same frames."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError

from videogen.errors import EncodeError
from videogen.media.boxes import append_seal
from videogen.media.codecs import CODECS, Codec
from videogen.media.output import add_stream, open_output
from videogen.media.pixels import SIZE_KEY, RgbToYuv, size_metadata
from videogen.media.spec import VideoSpec, frame_rate

MAX_SIDE_PX = 16384


class VideoWriter:
    """A video file being written; use it as a context manager.

    Frames go to a temporary file beside the target, which takes the target's name when the writer
    closes. If anything raises before that, the temporary file is removed and the target stays as
    it was. Colours are converted to BT.709 limited range and tagged so. The frame with index i is
    shown from i/fps to (i+1)/fps seconds.

    Odd sizes are stored padded to even ones and cropped again by this package's readers, see
    `videogen.media.pixels`.

    Args:
        path: the target, ending in ".mp4"; missing folders are made.
        fps: frames per second, 0.001 to 1000; kept exactly up to a denominator of 1001.
        height: of every frame, in pixels.
        width: of every frame, in pixels.
        codec: a name in `videogen.media.codecs.CODECS`.
        crf: constant rate factor, lower is better; None for the codec's default.
        metadata: any Unicode keys and values, stored in the file (MP4's `mdta` keys).
        faststart: put the index in front, so that a browser plays while it downloads.

    Raises:
        EncodeError: an argument is out of range, or the file or encoder cannot be opened.
        ConfigError: there is no codec of that name.
        MissingDependencyError: this PyAV build has no encoder for the codec.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        fps: float | Fraction,
        height: int,
        width: int,
        codec: str = "h264",
        crf: int | None = None,
        metadata: Mapping[str, str] | None = None,
        faststart: bool = True,
    ) -> None:
        self.path = Path(path)
        self.num_frames = 0
        self.height, self.width = _check_side("height", height), _check_side("width", width)
        self._rate = frame_rate(fps)
        self._codec = CODECS[codec]
        crf = self._codec.check_crf(crf)
        _check_target(self.path, self._codec)
        notes = _check_metadata(metadata or {})
        notes |= size_metadata(self.height, self.width, self._codec.min_side_px)
        self._to_yuv = RgbToYuv(self._codec.min_side_px, self._codec.pixel_format)
        self._temporary = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex[:8]}.tmp")
        self._container: OutputContainer | None = None
        self._is_whole = False
        with self._encoding():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            container = open_output(self._temporary, self._rate, notes, faststart)
            self._container = container
            size = self.height, self.width
            self._stream = add_stream(container, self._codec, crf, self._rate, *size)
            container.start_encoding()

    def write(self, frames: np.ndarray) -> None:
        """Append frames, RGB uint8 `t h w c`.

        Raises:
            EncodeError: they are of another dtype or shape, the writer is closed, or encoding
                fails. The writer is of no further use then, and its temporary file is gone.
        """
        with self._encoding():
            container = self._require_open()
            self._check_frames(frames)
            for rgb in frames:
                frame = self._to_yuv(rgb)
                frame.pts, frame.duration = self.num_frames, 1
                frame.time_base = 1 / self._rate
                container.mux(self._stream.encode(frame))
                self.num_frames += 1

    def close(self) -> VideoSpec:
        """Finish the file, give it its name, and say what it holds. Closing again does nothing.

        Raises:
            EncodeError: no frame was written, writing failed before, or finishing fails.
        """
        if not self._is_whole:
            with self._encoding():
                container = self._require_open()
                if self.num_frames == 0:
                    raise EncodeError(
                        f"frames: got none for {self.path}, expected at least 1. "
                        "Fix: write frames before closing."
                    )
                container.mux(self._stream.encode(None))
                container.close()
                append_seal(self._temporary)
                self._temporary.replace(self.path)
                self._container, self._is_whole = None, True
        return VideoSpec(self.num_frames, self.height, self.width, float(self._rate))

    def abort(self) -> None:
        """Drop what was written since opening; the target stays as it was."""
        container, self._container = self._container, None
        if container is None:
            return
        # Closing writes a trailer nobody will read; what made us abort is the error to report.
        with suppress(FFmpegError):
            container.close()
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    @contextmanager
    def _encoding(self) -> Iterator[None]:
        """Abort on any error, and name the file in those of libav and of the file system."""
        try:
            yield
        except (FFmpegError, OSError) as error:
            self.abort()
            raise EncodeError(
                f"encoding {self._codec.name}: got '{error.strerror or error}' at frame "
                f"{self.num_frames} of {self.path}, expected a playable file. "
                "Fix: check the folder, the space left on it, and the frame size."
            ) from error
        except BaseException:
            self.abort()
            raise

    def _require_open(self) -> OutputContainer:
        if self._container is None:
            raise EncodeError(
                f"writer: got a call for {self.path} after it was closed or had failed, expected "
                "an open writer. Fix: make a new VideoWriter."
            )
        return self._container

    def _check_frames(self, frames: np.ndarray) -> None:
        expected = f"a uint8 array of shape (t, {self.height}, {self.width}, 3)"
        if not isinstance(frames, np.ndarray):
            got = f"a {type(frames).__name__}"
        elif frames.dtype != np.uint8 or frames.ndim != 4:
            got = f"a {frames.dtype} array of shape {frames.shape}"
        elif frames.shape[1:] != (self.height, self.width, 3):
            got = f"shape {frames.shape}"
        else:
            return
        raise EncodeError(
            f"frames: got {got}, expected {expected}. "
            "Fix: round to 0..255, put colour last, and declare the size that the frames have."
        )


def write_video(
    path: str | os.PathLike[str],
    chunks: Iterable[np.ndarray],
    fps: float | Fraction,
    codec: str = "h264",
    crf: int | None = None,
    metadata: Mapping[str, str] | None = None,
    faststart: bool = True,
) -> VideoSpec:
    """Write chunks of frames, each RGB uint8 `t h w c`, as they come; one array is one chunk.

    The size is that of the first chunk. Arguments and errors are those of `VideoWriter`.
    """
    stream = iter([chunks] if isinstance(chunks, np.ndarray) else chunks)
    first = next(stream, None)
    if not isinstance(first, np.ndarray) or first.ndim != 4:
        got = f"shape {first.shape}" if isinstance(first, np.ndarray) else type(first).__name__
        raise EncodeError(
            f"chunks: got {got} as the first chunk for {path}, expected an array t h w c. "
            "Fix: give at least one chunk; a single frame needs a leading axis."
        )
    _, height, width, _ = first.shape
    with VideoWriter(path, fps, height, width, codec, crf, metadata, faststart) as writer:
        writer.write(first)
        for chunk in stream:
            writer.write(chunk)
    return writer.close()


def _check_side(name: str, side_px: int) -> int:
    is_integer = isinstance(side_px, int | np.integer) and not isinstance(side_px, bool)
    if not is_integer or not 1 <= side_px <= MAX_SIDE_PX:
        raise EncodeError(f"{name}: got {side_px!r}, expected 1 to {MAX_SIDE_PX} pixels.")
    return int(side_px)


def _check_target(path: Path, codec: Codec) -> None:
    if path.is_dir():
        raise EncodeError(f"path: got {path}, which is a folder, expected a file name.")
    if path.suffix.lower() != codec.extension:
        raise EncodeError(
            f"path: got {path}, expected a name ending in '{codec.extension}', the container of "
            f"{codec.name}. Fix: write {path.with_suffix(codec.extension)}."
        )


def _check_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    for key, value in metadata.items():
        is_text = isinstance(key, str) and isinstance(value, str)
        if not is_text or not key or key == SIZE_KEY or not _fits_c_string(key + value):
            raise EncodeError(
                f"metadata: got {key!r}: {value!r}, expected text values under text keys other "
                f"than '' and '{SIZE_KEY}', none holding a NUL character or half a surrogate "
                "pair. Fix: write numbers with str()."
            )
    return dict(metadata)


def _fits_c_string(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False
