"""What is stored of every video that was looked at: its clips, and why what was dropped was."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Literal

from pydantic import Field

from videogen_pipelines.sidecar import Record

_DIGEST_DIGITS = 8
_STEM = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST_STEM = 80
NO_CAPTION = "caption: "
"""What the reason starts with where a caption is all that a video lacks."""


class ClipRecord(Record):
    """A span of a video. Frames `start` to `stop` (not included) of it, if `dropped` is empty.

    `part` is the key of a file cut out of the video; None if the video is one clip and its file is
    kept as it is. `print` is the perceptual hash, see `videogen_pipelines.data.fingerprint`.
    """

    key: str
    start: int
    stop: int
    dropped: str = ""
    part: str | None = None
    sha256: str = ""
    num_bytes: int = 0
    fingerprint: str = ""
    metrics: dict[str, float] = Field(default_factory=dict)

    @property
    def num_frames(self) -> int:
        return self.stop - self.start


class SourceRecord(Record):
    """A video; storing it is the commit of all that was cut out of it."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    id: str
    key: str
    version: str
    sha256: str = ""
    num_frames: int = 0
    fps: float = 0.0
    height: int = 0
    width: int = 0
    caption: str = ""
    metadata: dict[str, Any] = Field(default_factory=dict)
    dropped: str = ""
    """Why nothing of it is taken; empty if its clips say it one by one."""
    clips: tuple[ClipRecord, ...] = ()
    elapsed_s: float = 0.0


def sample_key(source_id: str, sha256: str, index: int) -> str:
    """The name of a clip in shards: of its video, the start of its content's digest, its number.

    It holds no dot, because WebDataset takes what follows the first one for the kind of a file.
    """
    stem = _STEM.sub("-", source_id)
    if len(stem) > _LONGEST_STEM:
        digest = hashlib.blake2b(source_id.encode(), digest_size=4).hexdigest()
        stem = f"{stem[: _LONGEST_STEM - 9]}-{digest}"
    return f"{stem}-{sha256[:_DIGEST_DIGITS]}-{index:04d}"
