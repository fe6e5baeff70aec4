"""The video codecs clips are encoded with, and which of them this PyAV build has.

All are set up to give the same bytes for the same frames (one thread) and 8-bit 4:2:0, which every
player and browser shows. Each preset is about the fastest one that does not pay for it in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import av
from av.codec.codec import UnknownCodecError

from videogen.errors import EncodeError, MissingDependencyError
from videogen.registry import Registry


@dataclass(frozen=True)
class Encoder:
    """One libav encoder and its options; `environment` is set before it is first opened."""

    name: str
    options: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Codec:
    """A format clips can be stored in.

    Attributes:
        encoders: candidates, best first; the first one this PyAV build has is used.
        crf: default constant rate factor, visually lossless; lower is better and larger.
        max_crf: worst legal `crf`.
        min_side_px: smallest height and width the encoder takes; smaller frames are padded.
        tag: four-character code in the container where the default one does not play everywhere.
    """

    name: str
    encoders: tuple[Encoder, ...]
    crf: int
    max_crf: int
    min_side_px: int = 2
    tag: str | None = None
    pixel_format: str = "yuv420p"
    extension: str = ".mp4"

    def check_crf(self, crf: int | None) -> int:
        """Return `crf`, or the default for None.

        Raises:
            EncodeError: it is outside what the codec takes.
        """
        if crf is None:
            return self.crf
        if isinstance(crf, bool) or not isinstance(crf, int) or not 0 <= crf <= self.max_crf:
            raise EncodeError(
                f"crf: got {crf!r}, expected an integer from 0 (best) to {self.max_crf} for "
                f"{self.name}. Fix: leave it out for {self.crf}."
            )
        return crf


# x264's AVX-512 mbtree reads memory it never set, so the same frames gave other bytes and pixels.
# Without it (and x265's cutree) a `crf` spends more: 21 is about what 17 is with mbtree.
_X264 = {"preset": "faster", "x264-params": "mbtree=0"}
# In x265 4.2 cutree writes past its buffers for widths of 34 to 48 pixels (seen with valgrind), and
# with B-frames clips of one or two frames get undefined timestamps. `hash` puts a checksum of every
# picture into the stream. Pictures one 32-pixel block wide it predicts from memory it never set:
# hence `min_side_px`.
_X265 = "log-level=none:pools=none:frame-threads=1:bframes=0:cutree=0:hash=1"
# SVT-AV1 prints a banner on stderr that only this variable turns off.
_SVT_QUIET = {"SVT_LOG": "1"}

_AV1_ENCODERS = (
    Encoder("libsvtav1", {"preset": "8", "svtav1-params": "lp=1"}, _SVT_QUIET),
    Encoder("libaom-av1", {"cpu-used": "6", "row-mt": "0", "b": "0"}),
)

CODECS: Registry[Codec] = Registry(
    "codec",
    {
        codec.name: codec
        for codec in (
            Codec("h264", (Encoder("libx264", _X264),), crf=21, max_crf=51),
            Codec(
                "hevc",
                (Encoder("libx265", {"preset": "superfast", "x265-params": _X265}),),
                crf=23,
                max_crf=51,
                min_side_px=34,
                tag="hvc1",  # the default, hev1, does not play on Apple's systems
            ),
            Codec("av1", _AV1_ENCODERS, crf=24, max_crf=63, min_side_px=4),
            Codec(
                "vp9",
                (Encoder("libvpx-vp9", {"deadline": "good", "cpu-used": "4", "b": "0"}),),
                crf=24,
                max_crf=63,
            ),
        )
    },
)


def find_encoder(codec: Codec) -> Encoder:
    """The best encoder for `codec` that this PyAV build has.

    Raises:
        MissingDependencyError: it has none; the message names them and the codecs that do work.
    """
    for encoder in codec.encoders:
        if _is_built_in(encoder.name):
            return encoder
    wanted = " or ".join(encoder.name for encoder in codec.encoders)
    raise MissingDependencyError(
        f"codec: got '{codec.name}', which needs the encoder {wanted}, and PyAV {av.__version__} "
        f"was built without it; expected one of {', '.join(available_codecs()) or 'none'}. "
        "Fix: choose one of those, or install PyAV's own wheel with `pip install --upgrade av`."
    )


def available_codecs() -> list[str]:
    """Names of the codecs that can be written here."""
    return [
        name
        for name in CODECS
        if any(_is_built_in(encoder.name) for encoder in CODECS[name].encoders)
    ]


def _is_built_in(encoder: str) -> bool:
    try:
        av.Codec(encoder, "w")
    except UnknownCodecError:
        return False
    return True
