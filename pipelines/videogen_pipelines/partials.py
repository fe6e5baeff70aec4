"""The finished chunks of clips that are not: where another rank, or another run, goes on from.

A chunk is two objects: its frames, encoded, then the state that the next chunk starts from, whose
existence says that the chunk is complete. Only the latest state is kept.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from videogen.errors import InvalidRequestError
from videogen.storage import MissingKeyError, Storage, local_copy
from videogen_pipelines.keys import (
    PARTIAL_PREFIX,
    PartialKey,
    meta_key,
    parse_partial,
    partial_key,
    partials_prefix,
)

if TYPE_CHECKING:
    from videogen.extension.state import StreamState

logger = logging.getLogger(__name__)


def encoding_recipe(codec: str, crf: int | None, number: int = 1) -> str:
    """The part of a key that tells segments apart that cannot be joined.

    Args:
        number: of the try at the clip, which has a seed of its own.
    """
    suffix = "" if number == 1 else f"-try{number}"
    return f"{codec}-{'auto' if crf is None else crf}{suffix}"


@dataclass(frozen=True)
class PartialClip:
    """What is stored of one clip before it is complete.

    Any number of ranks may add the same chunks, because all of them make the same ones.
    """

    storage: Storage
    id: str
    clip_id: str
    recipe: str

    def num_chunks(self) -> int:
        """Chunks from the first one on that need not be made again.

        Raises:
            StorageError: the storage failed.
        """
        found = [
            place
            for key in self.storage.list(partials_prefix(self.id))
            if (place := parse_partial(key)) is not None
            and (place.clip_id, place.recipe) == (self.clip_id, self.recipe)
        ]
        segments = {place.chunk for place in found if place.kind == "mp4"}
        unbroken = next(n for n in range(len(segments) + 1) if n not in segments)
        states = [place.chunk + 1 for place in found if place.kind == "safetensors"]
        return max((count for count in states if count <= unbroken), default=0)

    def read_state(self, num_chunks: int) -> bytes:
        """How to go on after so many chunks.

        Raises:
            StorageError: it cannot be read, or (MissingKeyError) is not there.
        """
        return self.storage.read(self._key(num_chunks - 1, "safetensors"))

    def last_state(self, clip: str) -> StreamState | None:
        """What the clip goes on from; None if it has to be made from its beginning.

        What is no state of it is removed: damaged, or written by another version.

        Args:
            clip: its `fingerprint`.

        Raises:
            StorageError: the storage failed.
        """
        from videogen.extension.state import StreamState

        num_chunks = self.num_chunks()
        if num_chunks == 0:
            return None
        try:
            state = StreamState.from_bytes(self.read_state(num_chunks))
            state.check(clip)
        except (InvalidRequestError, MissingKeyError) as error:
            logger.warning("%s: its chunks are made anew (%s)", self.id, error)
            remove_partials(self.storage, self.id)
            return None
        return state

    def add(self, chunk: int, segment: Path, state: bytes) -> None:
        """Store a chunk: its frames in the file `segment`, then the state after it.

        Raises:
            StorageError: the storage failed.
        """
        self.storage.create(self._key(chunk, "mp4"), segment)
        self.storage.create(self._key(chunk, "safetensors"), state)
        if chunk > 0:
            self.storage.delete(self._key(chunk - 1, "safetensors"))

    def segments(self, num_chunks: int) -> Iterator[Path]:
        """The files of the first chunks, each there until the next is asked for.

        Raises:
            StorageError: one cannot be read, or (MissingKeyError) is not there.
        """
        for chunk in range(num_chunks):
            with local_copy(self.storage, self._key(chunk, "mp4")) as path:
                yield path

    def _key(self, chunk: int, kind: Literal["mp4", "safetensors"]) -> str:
        return partial_key(PartialKey(self.id, self.clip_id, self.recipe, chunk, kind))


def remove_partials(storage: Storage, request_id: str) -> None:
    """Forget all that is stored of a request's unfinished clip, of other tries and recipes too.

    Raises:
        StorageError: the storage failed.
    """
    # The states first: without one, the segments that a crash leaves are worth nothing.
    for key in sorted(storage.list(partials_prefix(request_id)), key=lambda k: k.endswith("mp4")):
        storage.delete(key)


def stored_partials(storage: Storage) -> Iterator[tuple[str, list[PartialKey]]]:
    """Every id that parts are stored of, with what they are; what is no part is left out."""
    found = (place for key in storage.list(PARTIAL_PREFIX) if (place := parse_partial(key)))
    for name, places in groupby(found, key=lambda place: place.id):
        yield name, list(places)


def remove_leftovers(storage: Storage) -> int:
    """Remove the parts of clips that are complete, which crashes left; returns how many.

    Raises:
        StorageError: the storage failed.
    """
    removed = 0
    for name, places in stored_partials(storage):
        if storage.exists(meta_key(name)):
            for place in places:
                storage.delete(partial_key(place))
            removed += len(places)
    if removed:
        logger.warning("%s: removed %d parts of clips that are complete", storage.uri, removed)
    return removed
