"""`PackStore`: where a pack keeps what it found, so that a killed one goes on.

sources/{hh}/{id}={version}.json     create-only: the commit of one video
parts/{hh}/{clip}={sha256}.mp4       create-only: a clip cut out of a longer video, for a while
plans/{round}.json.gz                create-only: which clips go into which shards
shards/{bucket}/{name}.tar           1. a WebDataset shard
index/{bucket}/{name}.json           2. create-only: the commit of that shard
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from pydantic import ValidationError

from videogen.errors import StorageError
from videogen.storage import MissingKeyError, Storage
from videogen_pipelines.committed import list_shards
from videogen_pipelines.data.records import SourceRecord
from videogen_pipelines.keys import shard_of

SOURCES_PREFIX = "sources/"
PARTS_PREFIX = "parts/"
_NAME = re.compile(r"[0-9a-f]{2}/([^=/]+)=([0-9a-f]+)\.json")
_READERS = 16
_BATCH = 1000


class PackStore:
    """The videos that were looked at, below one output."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def commit(self, record: SourceRecord) -> bool:
        """Store the record of a video, unless it is there; returns whether this call did."""
        return self.storage.create(source_key(record.id, record.version), record.to_json())

    def forget(self, record: SourceRecord) -> None:
        """Remove the record of a video, so that it is looked at again."""
        self.storage.delete(source_key(record.id, record.version))

    def keep_part(self, clip: str, sha256: str, path: Path) -> str:
        """Store a clip that was cut out, unless this very file is there; returns its key."""
        key = f"{PARTS_PREFIX}{shard_of(clip)}/{clip}={sha256[:16]}.mp4"
        self.storage.create(key, path)
        return key

    def listed(self) -> set[tuple[str, str]]:
        """(id, version) of every video that was looked at, by listing alone."""
        keys = list_shards(self.storage, SOURCES_PREFIX)
        names = (_NAME.fullmatch(key.removeprefix(SOURCES_PREFIX)) for key in keys)
        return {(name[1], name[2]) for name in names if name}

    def records(self, names: Iterable[tuple[str, str]]) -> Iterator[SourceRecord]:
        """The records of (id, version) pairs in that order, several read at once.

        Raises:
            StorageError: the storage failed, or a record is damaged or gone.
        """
        names = iter(names)
        with ThreadPoolExecutor(_READERS) as readers:
            while batch := list(islice(names, _BATCH)):
                yield from readers.map(lambda name: self.record(*name), batch)

    def without_parts(
        self, names: Iterable[tuple[str, str]], clips: Container[str]
    ) -> Iterator[SourceRecord]:
        """The records of videos out of which one of `clips` was cut, and is not stored any more."""
        stored = set(list_shards(self.storage, PARTS_PREFIX))
        for record in self.records(names):
            parts = {clip.part for clip in record.clips if clip.part and clip.key in clips}
            if not parts <= stored:
                yield record

    def record(self, name: str, version: str) -> SourceRecord:
        """The record of one video.

        Raises:
            StorageError: it is damaged or gone.
        """
        key = source_key(name, version)
        try:
            return SourceRecord.model_validate_json(self.storage.read(key))
        except MissingKeyError as error:
            raise MissingKeyError(
                f"{self.storage.uri}/{key}: got no file, expected the record of video {name}. Fix: "
                "put the video back as it was and run again, or pack into another --out."
            ) from error
        except ValidationError as error:
            raise StorageError(
                f"{self.storage.uri}/{key}: got {error.errors()[0]['msg']}, expected a record of "
                "schema 1. Fix: delete it and run again."
            ) from error


def source_key(name: str, version: str) -> str:
    """Where the record of a video is."""
    return f"{SOURCES_PREFIX}{shard_of(name)}/{name}={version}.json"
