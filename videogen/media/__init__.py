"""Media: encoding, decoding and checking video files.

Write with `VideoWriter` (streaming) or `write_video`, read with `iter_video` (bounded memory) or
`read_video`, look with `probe`, prove a file whole with `verify_video`, and put files end to end
with `join_videos`. Frames are RGB uint8 `t h w c` everywhere. Names are loaded on first use, so
importing this package alone needs no PyAV.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from videogen.media.codecs import CODECS, available_codecs
    from videogen.media.join import join_videos
    from videogen.media.reader import iter_video, probe, read_video
    from videogen.media.spec import VideoInfo, VideoSpec
    from videogen.media.verify import verify_video
    from videogen.media.writer import VideoWriter, write_video

__all__ = [
    "CODECS",
    "VideoInfo",
    "VideoSpec",
    "VideoWriter",
    "available_codecs",
    "iter_video",
    "join_videos",
    "probe",
    "read_video",
    "verify_video",
    "write_video",
]

_HOMES = {
    "codecs": ("CODECS", "available_codecs"),
    "join": ("join_videos",),
    "reader": ("iter_video", "probe", "read_video"),
    "spec": ("VideoInfo", "VideoSpec"),
    "verify": ("verify_video",),
    "writer": ("VideoWriter", "write_video"),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
