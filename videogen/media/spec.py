"""What a video file is: how many frames, of which size, at which rate."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

from videogen.errors import EncodeError

MIN_FPS, MAX_FPS = 0.001, 1000.0
MAX_RATE_DENOMINATOR = 1001  # holds 24000/1001 and 23.976 alike


@dataclass(frozen=True)
class VideoSpec:
    """What a clip should be. Sizes are in pixels, `fps` in frames per second."""

    num_frames: int
    height: int
    width: int
    fps: float

    @property
    def duration_s(self) -> float:
        return self.num_frames / self.fps


@dataclass(frozen=True)
class VideoInfo:
    """What a file says about itself, without its frames having been decoded.

    `codec` is the format's name (`h264`, `av1`, …), `pixel_format` libav's name for how it is
    stored, `metadata` what its writer put in, without the container's own bookkeeping.
    """

    num_frames: int
    height: int
    width: int
    fps: float
    duration_s: float
    codec: str
    pixel_format: str
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def spec(self) -> VideoSpec:
        return VideoSpec(self.num_frames, self.height, self.width, self.fps)


def frame_rate(fps: float | Fraction) -> Fraction:
    """The exact rate a file is written with: `fps` as a fraction with a small denominator.

    Raises:
        EncodeError: `fps` is not a number between 0.001 and 1000.
    """
    if not (math.isfinite(fps) and MIN_FPS <= fps <= MAX_FPS):
        raise EncodeError(
            f"fps: got {fps}, expected {MIN_FPS} to {MAX_FPS:g} frames per second. "
            "Fix: give the rate at which the clip should play, such as 8 or 23.976."
        )
    return Fraction(fps).limit_denominator(MAX_RATE_DENOMINATOR)
