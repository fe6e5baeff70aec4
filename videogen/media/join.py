"""Joins files of one encoder into one by copying packets: what was encoded is not encoded again."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from videogen.errors import EncodeError, MediaError
from videogen.media.boxes import append_seal
from videogen.media.container import check_seal, open_video, reading
from videogen.media.output import open_output
from videogen.media.pixels import SIZE_KEY
from videogen.media.spec import frame_rate


def join_videos(
    path: str | os.PathLike[str],
    segments: Iterable[Path],
    fps: float | Fraction,
    metadata: Mapping[str, str] | None = None,
    faststart: bool = True,
) -> int:
    """Write the frames of all `segments`, one after the other, into one MP4; nothing is decoded.

    The segments must be closed files of `VideoWriter` with the same codec, quality, size and rate.
    One is read at a time, so that an iterator may fetch each as it is asked for. The target appears
    when it is whole.

    Args:
        path: the target, which may not be one of the segments.
        metadata: as for `VideoWriter`; that of the segments is dropped.

    Returns:
        The number of frames.

    Raises:
        MediaError: there are no segments, one is damaged, or one does not fit those before it.
        EncodeError: the target cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    joiner = _Joiner(temporary, frame_rate(fps), dict(metadata or {}), faststart)
    try:
        for segment in segments:
            joiner.append(segment)
        num_frames = joiner.close()
        append_seal(temporary)
        temporary.replace(path)
    except (FFmpegError, OSError) as error:
        raise EncodeError(
            f"joining {path}: got '{error.strerror or error}', expected a whole file. "
            "Fix: check the folder and the space left on it."
        ) from error
    finally:
        joiner.abort()
        temporary.unlink(missing_ok=True)
    return num_frames


class _Joiner:
    """One file being joined; opened by its first segment, which says how frames are encoded."""

    def __init__(
        self, path: Path, rate: Fraction, metadata: dict[str, str], faststart: bool
    ) -> None:
        self._path, self._rate = path, rate
        self._metadata, self._faststart = metadata, faststart
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._kind: tuple[object, ...] = ()
        self._num_frames = 0

    def append(self, segment: Path) -> None:
        check_seal(segment)
        with open_video(segment) as (container, stream):
            if self._container is None:
                self._open(container.metadata, stream)
            if _kind(stream) != self._kind:
                raise _misfit(segment)
            self._copy(segment, container, stream)

    def close(self) -> int:
        if self._container is None:
            raise MediaError(f"segments: got none for {self._path}, expected at least 1.")
        self._container.close()
        self._container = None
        return self._num_frames

    def abort(self) -> None:
        if self._container is not None:
            with suppress(FFmpegError):  # nobody will read what is closed here
                self._container.close()

    def _open(self, notes: Mapping[str, str], stream: VideoStream) -> None:
        size = {SIZE_KEY: notes[SIZE_KEY]} if SIZE_KEY in notes else {}
        self._container = open_output(
            self._path, self._rate, self._metadata | size, self._faststart
        )
        self._stream = self._container.add_stream_from_template(stream, opaque=True)
        self._stream.time_base = 1 / self._rate
        self._kind = _kind(stream)

    def _copy(self, segment: Path, container: InputContainer, stream: VideoStream) -> None:
        assert self._container is not None and self._stream is not None and stream.time_base
        ticks = int(1 / (self._rate * stream.time_base))  # of one frame
        # Segments so short that nothing in them is out of order start with less delay; across all
        # of them decoding times have to rise, a frame each.
        delay = stream.codec_context.reorder_depth
        offset = self._num_frames * ticks
        for packet in _packets(segment, container, stream):
            packet.pts = offset + (packet.pts or 0)
            packet.dts = (self._num_frames - delay) * ticks
            packet.stream = self._stream
            self._container.mux(packet)
            self._num_frames += 1


def _packets(
    segment: Path, container: InputContainer, stream: VideoStream
) -> Iterator[Packet[VideoStream]]:
    with reading(segment):
        yield from (packet for packet in container.demux(stream) if packet.size > 0)


def _kind(stream: VideoStream) -> tuple[object, ...]:
    """What must agree for packets to be decoded by one decoder."""
    context = stream.codec_context
    size = context.width, context.height, context.pix_fmt
    return (context.name, context.codec_tag, context.extradata, stream.average_rate, *size)


def _misfit(segment: Path) -> MediaError:
    return MediaError(
        f"segment: got {segment}, which was encoded otherwise than those before it, expected one "
        "encoder with one setting. Fix: encode all of them again."
    )
