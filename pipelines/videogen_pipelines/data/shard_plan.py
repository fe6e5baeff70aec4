"""Which clips go into which shards: alike in size and length, in rounds that never change."""

from __future__ import annotations

import gzip
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydantic import Field, ValidationError

from videogen.errors import StorageError
from videogen.storage import Storage
from videogen_pipelines.sidecar import Record

PLANS_PREFIX = "plans/"
SHARDS_PREFIX = "shards/"
INDEX_PREFIX = "index/"
LENGTHS = (1, 5, 9, 17, 33, 49, 65, 81, 97, 129, 193, 257, 385, 513)
"""4n+1 frames, as causal VAEs take them: a bucket holds clips of this length up to the next."""


class Ref(Record):
    """A clip: of which video, and which of its clips."""

    key: str
    source: str
    version: str


class PlannedShard(Record):
    """The clips of one shard, in order."""

    name: str
    clips: tuple[Ref, ...]

    @property
    def tar_key(self) -> str:
        return f"{SHARDS_PREFIX}{self.name}.tar"

    @property
    def index_key(self) -> str:
        return f"{INDEX_PREFIX}{self.name}.json"


class Round(Record):
    """The shards that one invocation has planned."""

    schema_version: int = Field(default=1, alias="schema")
    shards: tuple[PlannedShard, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """What planning has to know of a clip."""

    ref: Ref
    bucket: str
    num_bytes: int


def bucket_of(height: int, width: int, num_frames: int) -> str:
    """The folder for clips of this size, and about this length: `64x96x17` is width 64."""
    length = max((known for known in LENGTHS if known <= num_frames), default=1)
    return f"{width}x{height}x{length}"


def plan_round(
    clips: Iterable[Candidate], number: int, shard_clips: int, shard_bytes: int
) -> Round:
    """Divide clips into shards, each of one bucket; `number` is that of the round."""
    buckets: dict[str, list[Candidate]] = defaultdict(list)
    for clip in clips:
        buckets[clip.bucket].append(clip)
    shards = []
    for bucket in sorted(buckets):
        members = sorted(buckets[bucket], key=lambda clip: clip.ref.key)
        for index, part in enumerate(_parts(members, shard_clips, shard_bytes)):
            name = f"{bucket}/clips-{number:03d}-{index:06d}"
            shards.append(PlannedShard(name=name, clips=tuple(clip.ref for clip in part)))
    return Round(shards=tuple(shards))


def read_rounds(storage: Storage) -> list[Round]:
    """All rounds that were planned, in order.

    Raises:
        StorageError: the storage failed, or a plan is damaged.
    """
    return [_read(storage, key) for key in sorted(storage.list(PLANS_PREFIX))]


def store_round(storage: Storage, number: int, planned: Round) -> None:
    """Fix a round for good.

    Raises:
        StorageError: there is one of that number.
    """
    key = f"{PLANS_PREFIX}{number:06d}.json.gz"
    data = gzip.compress(planned.model_dump_json(by_alias=True).encode(), mtime=0)
    if not storage.create(key, data) and storage.read(key) != data:
        raise StorageError(
            f"{storage.uri}/{key}: got a plan that another process has made, expected to be alone. "
            "Fix: run one 'videogen data pack' at a time for an output."
        )


def _parts(
    clips: Iterable[Candidate], shard_clips: int, shard_bytes: int
) -> Iterator[list[Candidate]]:
    part: list[Candidate] = []
    total = 0
    for clip in clips:
        if part and (len(part) == shard_clips or total + clip.num_bytes > shard_bytes):
            yield part
            part, total = [], 0
        part.append(clip)
        total += clip.num_bytes
    if part:
        yield part


def _read(storage: Storage, key: str) -> Round:
    try:
        return Round.model_validate_json(gzip.decompress(storage.read(key)))
    except (ValidationError, OSError, EOFError) as error:
        raise StorageError(
            f"{storage.uri}/{key}: got {error}, expected a plan of schema 1. Fix: pack into "
            "another --out."
        ) from error
