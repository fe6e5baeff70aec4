"""Opens video files for reading, and tells damaged ones from whole ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from videogen.errors import MediaError
from videogen.media.boxes import missing_bytes, seal_holds
from videogen.media.codecs import CODECS
from videogen.media.pixels import SIZE_KEY, true_size
from videogen.media.spec import VideoInfo

# Demuxers that hold moving pictures in one file. Left out on purpose: text that libav would draw
# (`tty`), single images, and playlists that would make it open other files.
_DEMUXERS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,ogg,flv,ivf,gif,asf,h264,hevc"
_BOOKKEEPING = {"major_brand", "minor_version", "compatible_brands", SIZE_KEY}


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what libav says about a file it cannot read into a `MediaError` that names the file."""
    try:
        yield
    except (FFmpegError, OSError) as error:
        raise MediaError(
            f"video file: got {path}, which cannot be decoded ({error.strerror or error}), "
            "expected a whole video. Fix: make the file again."
        ) from error


@contextmanager
def open_video(path: str | Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and its first video stream, decoding in one thread and concealing nothing.

    Raises:
        MediaError: there is no such file, or it is empty, cut short, or not a video.
    """
    path = Path(path)
    _check_file(path)
    with reading(path):
        # An absolute path is never taken for a protocol, whatever colons it holds.
        container = av.open(
            str(path.absolute()),
            options={"format_whitelist": _DEMUXERS},
            metadata_errors="replace",
        )
    with container:
        if not container.streams.video:
            raise MediaError(f"video file: got {path}, which has no video stream, expected one.")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise MediaError(_damaged(path, "no decoder knows its codec"))
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"err_detect": "crccheck+bitstream+buffer+explode"}
        yield container, stream


def decoded_frames(path: str | Path) -> Iterator[av.VideoFrame]:
    """Decode every frame in the order of showing; memory does not grow with the file.

    Raises:
        MediaError: a packet or frame is damaged or missing, or a sealed file was altered.
    """
    check_seal(path)
    with open_video(path) as (container, stream), reading(Path(path)):
        num_packets = num_frames = 0
        for packet in container.demux(stream):
            num_packets += packet.size > 0 and not packet.is_discard
            for frame in packet.decode():
                if packet.is_corrupt or frame.is_corrupt:
                    raise MediaError(_damaged(path, f"frame {num_frames} is damaged"))
                num_frames += 1
                yield frame
        if num_frames == 0:
            raise MediaError(_damaged(path, "no frame decodes"))
        if _is_iso(container) and num_frames < num_packets:
            raise MediaError(_damaged(path, f"{num_packets - num_frames} frames do not decode"))


def check_seal(path: str | Path) -> bool:
    """Whether the file carries its writer's seal, and so is proved whole without decoding.

    Raises:
        MediaError: it does, and its pictures are not the ones that were sealed.
    """
    seal = seal_holds(Path(path))
    if seal is False:
        raise MediaError(_damaged(path, "its pictures changed after they were written"))
    return seal is True


def quarter_turns(path: str | Path) -> int:
    """Quarter turns anticlockwise, 0 to 3, that players show the frames of a file after.

    Telephones store what they filmed upright as it lay on the sensor, and say so beside it.

    Raises:
        MediaError: the file cannot be read, or no frame decodes.
    """
    frames = decoded_frames(path)
    try:
        return round(next(frames).rotation / 90) % 4
    finally:
        frames.close()  # pyright: ignore[reportAttributeAccessIssue]


def describe(path: str | Path) -> VideoInfo:
    """Read a file's headers. Packets are counted where the container does not say how many.

    Raises:
        MediaError: the file cannot be read, is no video, or says nothing of its size or rate.
    """
    with open_video(path) as (container, stream), reading(Path(path)):
        rate = stream.average_rate or stream.guessed_rate
        context = stream.codec_context
        num_frames = stream.frames or sum(p.size > 0 for p in container.demux(stream))
        if not (rate and num_frames and context.width and context.height):
            raise MediaError(_damaged(path, "it holds no frames, or no size or rate for them"))
        codec = context.codec.canonical_name
        min_side_px = CODECS[codec].min_side_px if codec in CODECS else 2
        stored = context.height, context.width
        height, width = true_size(stored, container.metadata, min_side_px)
        return VideoInfo(
            num_frames=num_frames,
            height=height,
            width=width,
            fps=float(rate),
            duration_s=_duration_s(container, stream) or float(num_frames / rate),
            codec=codec,
            pixel_format=context.pix_fmt or "unknown",
            metadata={k: v for k, v in container.metadata.items() if k not in _BOOKKEEPING},
        )


def _duration_s(container: InputContainer, stream: VideoStream) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _check_file(path: Path) -> None:
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no file"
        raise MediaError(f"video file: got {path}, which is {what}, expected a video to read.")
    if path.stat().st_size == 0:
        raise MediaError(_damaged(path, "it is empty"))
    missing = missing_bytes(path)
    if missing:
        raise MediaError(_damaged(path, f"it is cut short by {missing} bytes"))


def _is_iso(container: InputContainer) -> bool:
    return "mp4" in container.format.name


def _damaged(path: str | Path, what: str) -> str:
    return (
        f"video file: got {os.fspath(path)}, which is damaged: {what}; expected a whole video. "
        "Fix: make or copy the file again."
    )
