"""Proves that a video file is whole and what it should be, by decoding all of it."""

from __future__ import annotations

from pathlib import Path

from av import VideoFrame

from videogen.errors import MediaError
from videogen.media.container import decoded_frames, describe
from videogen.media.spec import VideoSpec

FPS_TOLERANCE = 1e-4  # relative; 23.976 and 24000/1001 are the same rate, 24 is another


def verify_video(path: str | Path, expected: VideoSpec) -> None:
    """Decode every frame and compare the file with `expected`.

    Checked: that everything decodes, the number of frames, their size, the frame rate, and that the
    duration and each frame's time of showing are right to half a frame.

    Raises:
        MediaError: the file cannot be read, or differs; the message names all that differs.
    """
    info = describe(path)
    num_frames, fault = _decode_all(path, expected.fps)
    differences = [
        *_compare("frames", num_frames, expected.num_frames),
        *_compare("height", info.height, expected.height),
        *_compare("width", info.width, expected.width),
        *_compare("fps", info.fps, expected.fps, FPS_TOLERANCE * expected.fps),
        *_compare("duration in seconds", info.duration_s, expected.duration_s, 0.5 / expected.fps),
        *fault,
    ]
    if differences:
        raise MediaError(f"video file {path}: {'; '.join(differences)}. Fix: make the clip again.")


def _compare(what: str, got: float, expected: float, tolerance: float = 0) -> list[str]:
    if abs(got - expected) <= tolerance:
        return []
    return [f"{what}: got {got:g}, expected {expected:g}"]


def _decode_all(path: str | Path, fps: float) -> tuple[int, list[str]]:
    """How many frames decode, and what is wrong with the first one out of time or of other size."""
    first, num_frames = None, 0
    fault: list[str] = []
    for frame in decoded_frames(path):
        first = first or frame
        fault = fault or _fault(frame, first, num_frames, fps)
        num_frames += 1
    return num_frames, fault


def _fault(frame: VideoFrame, first: VideoFrame, index: int, fps: float) -> list[str]:
    if (frame.height, frame.width) != (first.height, first.width):
        return [f"frame {index}: got {frame.width}x{frame.height}, expected the first one's size"]
    if frame.pts is None or first.pts is None:
        return [f"frame {index}: got no time of showing, expected {index / fps:g} s"]
    shown_s = frame.time - first.time
    return _compare(f"time of frame {index} in seconds", shown_s, index / fps, 0.5 / fps)
