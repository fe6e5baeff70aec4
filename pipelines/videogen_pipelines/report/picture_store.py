"""`PictureStore`, the pictures of clips below a report; what an earlier report drew is kept."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import PurePosixPath

from videogen.errors import MediaError
from videogen.storage import MissingKeyError, Storage, local_copy
from videogen_pipelines.keys import copy_key, shard_of
from videogen_pipelines.report.clips import ReportClip
from videogen_pipelines.report.pictures import draw_pictures

logger = logging.getLogger(__name__)

PICTURES_PREFIX = "pictures/"


@dataclass(frozen=True)
class Drawn:
    """What became of a clip: the start of its pictures' keys ("" for none), and what it holds."""

    stem: str = ""
    num_frames: int | None = None
    fps: float | None = None
    height: int | None = None
    width: int | None = None


class PictureStore:
    """Draws pictures of the clips in one storage into another."""

    def __init__(self, clips: Storage, report: Storage, slices: bool = True) -> None:
        """With `slices`, every clip is decoded to its end; else only its poster is drawn."""
        self._clips = clips
        self._report = report
        self._slices = slices
        self._stored = set(report.list(PICTURES_PREFIX))

    def draw(self, clip: ReportClip) -> Drawn:
        """Draw what is not there yet; a clip that cannot be read gets none.

        Raises:
            StorageError: a storage failed.
        """
        if clip.key is None:
            return Drawn()
        stem = f"{PICTURES_PREFIX}{shard_of(clip.id)}/{clip.id}={clip.version}"
        last = f"{stem}.flow.jpg" if self._slices else f"{stem}.poster.jpg"
        if clip.request and last in self._stored:
            return Drawn(stem)
        try:
            with local_copy(self._clips, clip.key) as path:
                found = draw_pictures(path, only_poster=not self._slices)
        except (MediaError, MissingKeyError) as error:
            logger.warning("%s: no pictures: %s", clip.id, error)
            return Drawn()
        for kind, content in found.files.items():  # the flow comes last
            self._report.put(f"{stem}.{kind}.jpg", content)
        return Drawn(stem, found.num_frames, found.fps, found.height, found.width)


def key_of_copy(clip: ReportClip) -> str:
    """Where a copy of a clip lies below a report that takes its clips along."""
    return copy_key(clip.id, clip.version, PurePosixPath(clip.key or "").suffix)


def copy_clip(clip: ReportClip, source: Storage, report: Storage) -> None:
    """Put a copy of a clip into a report; one that is gone is left out.

    Raises:
        StorageError: a storage failed.
    """
    if clip.key is None:
        return
    try:
        with local_copy(source, clip.key) as path:
            report.put(key_of_copy(clip), path)
    except MissingKeyError:
        logger.warning("%s: got no file %s, so the report has no copy", clip.id, clip.key)
