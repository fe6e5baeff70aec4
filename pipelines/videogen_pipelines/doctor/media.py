"""Codecs that really encode and decode, and the libraries they come from."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from videogen.errors import MissingDependencyError
from videogen_pipelines.doctor.checks import Family, Finding, Probe, failed, ok, skipped
from videogen_pipelines.doctor.subject import Subject

if TYPE_CHECKING:
    import numpy as np

CODECS = ("h264", "hevc", "av1", "vp9")
_FRAMES, _SIDE_PX, _FPS = 3, 64, 8.0
_LARGEST_ERROR = 12.0  # mean absolute difference of 8-bit values, on a smooth picture


def media_family(subject: Subject) -> Family:
    """What turns frames into files and back."""
    wanted = subject.config.output.codec
    return Family(
        "media",
        (
            Probe("libav", check_libraries),
            *(
                Probe(f"codec {name}", lambda name=name: check_codec(name, wanted))
                for name in CODECS
            ),
            Probe("decord", check_decord),
        ),
    )


def check_libraries() -> Finding:
    from videogen.media.versions import library_versions

    versions = library_versions()
    return ok(", ".join(f"{name} {version}" for name, version in versions.items()))


def check_codec(name: str, wanted: str) -> Finding:
    """Write three frames, prove the file whole, and compare what is read back.

    A codec that this build lacks is a failure only if it is the one `wanted`.
    """
    from videogen.media import read_video, verify_video, write_video
    from videogen.media.codecs import CODECS as KNOWN
    from videogen.media.codecs import find_encoder

    try:
        encoder = find_encoder(KNOWN[name]).name
    except MissingDependencyError as error:
        if name == wanted:
            raise
        return skipped(f"not in this build of PyAV: {encoder_names(name)}", _fix_of(error))
    frames = sample_frames()
    with tempfile.TemporaryDirectory(prefix="videogen-doctor-") as folder:
        path = Path(folder, "clip.mp4")
        verify_video(path, write_video(path, frames, _FPS, name))
        back, _ = read_video(path, backend="pyav")
        size = path.stat().st_size
    off = float(abs(back.astype(float) - frames).mean())
    found = f"{encoder}: {len(back)} frames in {size:,} bytes, off by {off:.1f} of 255"
    if back.shape == frames.shape and off <= _LARGEST_ERROR:
        return ok(found)
    return failed(found, "pip install --upgrade --force-reinstall av, or choose another codec")


def encoder_names(codec: str) -> str:
    """The encoders that can write `codec`."""
    from videogen.media.codecs import CODECS as KNOWN

    return " or ".join(encoder.name for encoder in KNOWN[codec].encoders)


def sample_frames() -> np.ndarray:
    """A few frames of a moving gradient, RGB uint8 `t h w c`."""
    import numpy as np

    ramp = np.arange(_SIDE_PX)
    shift = 8 * np.arange(_FRAMES)[:, None, None]
    level = 64 + ramp[None, :, None] + ramp[None, None, :] // 2 + shift
    return np.stack([level, level, level], axis=-1).clip(0, 255).astype(np.uint8)


def check_decord() -> Finding:
    """decord only reads faster; everything works without it."""
    from importlib.metadata import PackageNotFoundError, version

    from videogen.media.decord_reader import load_decord

    try:
        load_decord()
        return ok(version("decord"))
    except (MissingDependencyError, PackageNotFoundError) as error:
        return skipped("not installed; files are read with PyAV", _fix_of(error))


def _fix_of(error: Exception) -> str:
    return str(error).partition(" Fix: ")[2]
