"""What a rank does with one planned shard: collect its clips in a tar file and store it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videogen.errors import OutputConflictError
from videogen.models.digests import file_sha256
from videogen.storage import MissingKeyError, Storage, local_copy, open_storage
from videogen.storage.temporary import temporary_folder
from videogen_cluster.workload import Heartbeat, RankContext
from videogen_pipelines.data.records import ClipRecord, SourceRecord
from videogen_pipelines.data.shard_plan import PlannedShard, Ref
from videogen_pipelines.data.shards import (
    Sample,
    commit_shard,
    to_json,
    write_shard,
)
from videogen_pipelines.data.store import PackStore
from videogen_pipelines.keep_alive import keep_alive


@dataclass(frozen=True)
class ShardingTask:
    """What is the same for all shards."""

    source_uri: str
    out_uri: str


class ShardWorkload:
    """Writes shards; items hold `shard`, a `PlannedShard` as JSON types."""

    def __init__(self, task: ShardingTask) -> None:
        self.task = task

    def setup(self, context: RankContext) -> None:
        """Open both storages."""
        self._source = open_storage(self.task.source_uri)
        self._out = open_storage(self.task.out_uri)
        self._store = PackStore(self._out)

    def compute(
        self, item: Mapping[str, Any], heartbeat: Heartbeat
    ) -> Callable[[], dict[str, Any]]:
        """Leave everything to the rest: there is nothing to compute."""
        shard = PlannedShard.model_validate(item["shard"], strict=False)
        return lambda: self._write(shard, heartbeat)

    def _write(self, shard: PlannedShard, heartbeat: Heartbeat) -> dict[str, Any]:
        with temporary_folder() as folder:
            path = folder / "shard.tar"
            keys = write_shard(path, self._samples(shard, heartbeat))
            with keep_alive(lambda: heartbeat("store", 0, 1)):
                record = commit_shard(self._out, shard.tar_key, shard.index_key, path, keys)
        return {"id": shard.name, "clips": len(keys), "num_bytes": record.num_bytes}

    def _samples(self, shard: PlannedShard, heartbeat: Heartbeat) -> Iterator[tuple[str, Sample]]:
        names = [(ref.source, ref.version) for ref in shard.clips]
        for done, record in enumerate(self._store.records(names)):
            heartbeat("collect", done, len(names))
            clip = _clip_of(record, shard.clips[done])
            yield clip.key, self._sample(record, clip)

    def _sample(self, record: SourceRecord, clip: ClipRecord) -> Sample:
        storage, key = (self._source, record.key) if clip.part is None else (self._out, clip.part)
        return {
            "mp4": _video(storage, key, record, clip),
            "txt": record.caption.encode(),
            "json": to_json(description(record, clip)),
        }


def description(record: SourceRecord, clip: ClipRecord) -> dict[str, Any]:
    """What the JSON member of a sample says."""
    return {
        "caption": record.caption,
        "num_frames": clip.num_frames,
        "fps": record.fps,
        "height": record.height,
        "width": record.width,
        "sha256": clip.sha256,
        "source": {"key": record.key, "start": clip.start, "stop": clip.stop},
        "metrics": clip.metrics,
        "metadata": record.metadata,
    }


def _clip_of(record: SourceRecord, ref: Ref) -> ClipRecord:
    for clip in record.clips:
        if clip.key == ref.key and not clip.dropped:
            return clip
    raise OutputConflictError(
        f"{record.key}: got no clip {ref.key} when it was looked at again "
        f"({record.dropped or 'it is not good'}), expected the one that was planned. Fix: delete "
        "its record in sources/ and run again, or pack into another --out."
    )


def _video(storage: Storage, key: str, record: SourceRecord, clip: ClipRecord) -> bytes:
    try:
        with local_copy(storage, key) as path:
            _check(path, key, clip)
            return path.read_bytes()
    except MissingKeyError as error:
        raise OutputConflictError(
            f"{record.key}: got no file {storage.uri}/{key} any more, expected clip {clip.key} in "
            "it. Fix: put the video back as it was and run again, or pack into another --out."
        ) from error


def _check(path: Path, key: str, clip: ClipRecord) -> None:
    found = file_sha256(path)
    if found != clip.sha256:
        raise OutputConflictError(
            f"{key}: got a file that has changed since it was looked at, expected SHA-256 "
            f"{clip.sha256[:12]}…. Fix: put it back, or pack into another --out."
        )
