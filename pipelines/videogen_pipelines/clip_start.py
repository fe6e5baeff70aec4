"""Reads on a rank what a clip starts with, and makes sure that it is what the run was planned with.

How pictures and videos become frames of the clip's size is said in `videogen.media.start`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from videogen.errors import InvalidRequestError, MediaError, StorageError
from videogen.requests import ClipRequest
from videogen.storage import MissingKeyError
from videogen_pipelines.manifest.media import media_file, sha256_of_media

if TYPE_CHECKING:
    import numpy as np

    from videogen.extension.plan import ClipPlan


def read_start(request: ClipRequest, plan: ClipPlan, time_factor: int) -> np.ndarray | None:
    """The frames that a clip starts with, RGB uint8 `t h w c` of its size, or None.

    Args:
        time_factor: frames of a latent frame; of a video, as many frames are read as the context
            of the plan takes.

    Raises:
        InvalidRequestError: the file is not what it was, or cannot be decoded.
        StorageError: the file is not there, or the object store refuses or fails.
    """
    kind = "image" if request.image is not None else "video"
    address = request.image or request.video
    if address is None:
        return None
    try:
        with media_file(address) as path:
            expected = request.image_sha256 or request.video_sha256
            found = sha256_of_media(path).hex()
            if expected not in (None, found):
                raise InvalidRequestError(
                    f"{kind}: got other content in {address} than when the run was planned, "
                    "expected the same. Fix: run again, under another id or output."
                )
            return _read(path, request, max(1, plan.context), time_factor)
    except (MissingKeyError, FileNotFoundError) as error:
        # It was there for the plan: its node may have lost a mount, and others have it.
        raise StorageError(
            f"{kind}: got {address}, which is not there for this node, expected {kind} data. "
            "Fix: put it where all nodes see it, such as s3://, and `videogen retry` the run."
        ) from error
    except MediaError as error:
        raise InvalidRequestError(f"{kind}: {error}") from error


def _read(path: Path, request: ClipRequest, context: int, time_factor: int) -> np.ndarray:
    from videogen.media.start import last_frames, read_picture

    if request.image is not None:
        return read_picture(path, request.height, request.width)
    count = (context - 1) * time_factor + 1
    return last_frames(path, count, request.fps, request.height, request.width)
