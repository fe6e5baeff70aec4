"""What is to be scored: the clips of a run, or the videos of any folder."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, Protocol

from videogen.errors import StorageError
from videogen.storage import MissingKeyError, Storage
from videogen_pipelines.committed import committed_ids, read_sidecars
from videogen_pipelines.evaluation.store import METRICS_PREFIX
from videogen_pipelines.keys import is_copy_in_report_below
from videogen_pipelines.run_record import FIRST_KEY
from videogen_pipelines.sidecar import Sidecar

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".gif")
VERSION_DIGITS = 16
NO_VERSION = "0" * VERSION_DIGITS
"""Of what is listed and is not there."""
_LONGEST_ID = 128
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class SourceClip:
    """A clip to be scored; `sidecar` is None for a file that no run made.

    `missing` says why there is no file, where a link leads nowhere; empty if there is one.
    """

    id: str
    key: str
    version: str
    sidecar: Sidecar | None = None
    missing: str = ""

    @property
    def prompt(self) -> str | None:
        return None if self.sidecar is None else self.sidecar.request.prompt


class Source(Protocol):
    """A set of clips in the order of their ids."""

    kind: Literal["run", "folder"]
    storage: Storage

    @property
    def ids(self) -> Sequence[str]:
        """All ids, sorted."""
        ...

    def clips(self, ids: Iterable[str] | None = None) -> Iterator[SourceClip]:
        """These clips, or all in the order of `ids`; what a run lost meanwhile is left out."""
        ...


class RunSource:
    """The committed clips of a run."""

    kind: Literal["run", "folder"] = "run"

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.ids: Sequence[str] = sorted(committed_ids(storage))

    def clips(self, ids: Iterable[str] | None = None) -> Iterator[SourceClip]:
        for sidecar in read_sidecars(self.storage, self.ids if ids is None else ids):
            version = sidecar.sha256[:VERSION_DIGITS]
            yield SourceClip(sidecar.id, sidecar.key, version, sidecar)


class FolderSource:
    """The video files below a folder, without the copies that reports below it hold."""

    kind: Literal["run", "folder"] = "folder"

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._keys = _named(_videos(storage.list()))
        self.ids: Sequence[str] = sorted(self._keys)

    def clips(self, ids: Iterable[str] | None = None) -> Iterator[SourceClip]:
        for name in self.ids if ids is None else ids:
            key = self._keys[name]
            try:
                yield SourceClip(name, key, _version(self.storage, key))
            except MissingKeyError as error:
                yield SourceClip(name, key, NO_VERSION, missing=str(error))


def open_source(storage: Storage) -> Source:
    """The clips of a run directory, or else the videos of a folder.

    Raises:
        StorageError: there is no video, or the storage failed.
    """
    if storage.exists(FIRST_KEY):
        return RunSource(storage)
    source = FolderSource(storage)
    if not source.ids:
        raise StorageError(
            f"{storage.uri}: got no run and no video, expected the output of 'videogen generate' "
            f"or files that end in {', '.join(VIDEO_SUFFIXES)}. Fix: check the address."
        )
    return source


def _videos(keys: Iterable[str]) -> list[str]:
    return [
        key
        for key in keys
        if key.lower().endswith(VIDEO_SUFFIXES)
        and not key.startswith(METRICS_PREFIX)
        and not is_copy_in_report_below(key)
    ]


def _named(keys: Collection[str]) -> dict[str, str]:
    """id -> key: the path without its ending where that is an id of one file alone."""
    stems = {key: str(PurePosixPath(key).with_suffix("")) for key in keys}
    count = Counter(stems.values())
    return {_id_of(stems[key] if count[stems[key]] == 1 else key): key for key in keys}


def _id_of(path: str) -> str:
    """`path` as an id; one that had to be changed ends in a digest of what it was."""
    plain = _UNSAFE.sub("-", path).lstrip("._-")
    if plain == path and len(plain) <= _LONGEST_ID:
        return plain
    digest = hashlib.blake2b(path.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{plain[: _LONGEST_ID - 9]}-{digest}".lstrip("-")


def _version(storage: Storage, key: str) -> str:
    """Names a file's content by what is known without reading it."""
    revision = storage.revision(key).encode()
    return hashlib.blake2b(revision, digest_size=VERSION_DIGITS // 2).hexdigest()
