"""The versions of the libraries that encode and decode."""

from __future__ import annotations

import av


def library_versions() -> dict[str, str]:
    """Library -> version: PyAV, the FFmpeg it was built with, and FFmpeg's own parts."""
    parts = ("libavcodec", "libavformat", "libavutil", "libswscale")
    return {
        "PyAV": av.__version__,
        "FFmpeg": av.ffmpeg_version_info,
        **{name: ".".join(map(str, av.library_versions[name])) for name in parts},
    }
