"""The clips of a run as WebDataset shards as well, so that what was made can be trained on.

Shards that are there never change: clips that a later invocation makes go into further ones.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from videogen.storage import Storage, local_copy
from videogen.storage.temporary import temporary_folder
from videogen_pipelines.committed import committed_ids, read_sidecars
from videogen_pipelines.data.shard_plan import (
    INDEX_PREFIX,
    Candidate,
    PlannedShard,
    Ref,
    bucket_of,
    plan_round,
    read_rounds,
    store_round,
)
from videogen_pipelines.data.shards import Sample, commit_shard, to_json, write_shard
from videogen_pipelines.data.vanished import forget_vanished
from videogen_pipelines.sidecar import Sidecar

SHARD_CLIPS = 1000
SHARD_BYTES = 256 * 2**20
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,80}")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Exported:
    """How many clips are in how many shards."""

    clips: int
    shards: int


def export_run(
    storage: Storage, shard_clips: int = SHARD_CLIPS, shard_bytes: int = SHARD_BYTES
) -> Exported:
    """Write the committed clips of a run that are in no shard yet; only its coordinator may.

    Raises:
        StorageError: the storage failed, or a sidecar or plan is damaged.
    """
    rounds = read_rounds(storage)
    planned = [shard for each in rounds for shard in each.shards]
    known = {ref.source for shard in planned for ref in shard.clips}
    fresh = sorted(set(committed_ids(storage)) - known)
    if fresh:
        candidates = map(_candidate, read_sidecars(storage, fresh))
        added = plan_round(candidates, len(rounds), shard_clips, shard_bytes)
        store_round(storage, len(rounds), added)
        planned += added.shards
    forget_vanished(storage)
    stored = set(storage.list(INDEX_PREFIX))
    for shard in planned:
        if shard.index_key not in stored:
            _write(storage, shard)
    return Exported(sum(len(shard.clips) for shard in planned), len(planned))


def export_key(clip: str) -> str:
    """The name of a clip in shards: its id, if that holds nothing that WebDataset reads into."""
    if _PLAIN.fullmatch(clip):
        return clip
    digest = hashlib.blake2b(clip.encode(), digest_size=4).hexdigest()
    return f"{_UNSAFE.sub('-', clip)[:80]}-{digest}"


def _candidate(sidecar: Sidecar) -> Candidate:
    request = sidecar.request
    ref = Ref(key=export_key(sidecar.id), source=sidecar.id, version=sidecar.sha256[:16])
    return Candidate(ref, bucket_of(request.height, request.width, sidecar.frames), sidecar.bytes)


def _write(storage: Storage, shard: PlannedShard) -> None:
    with temporary_folder() as folder:
        path = folder / "shard.tar"
        keys = write_shard(path, _samples(storage, shard))
        commit_shard(storage, shard.tar_key, shard.index_key, path, keys)


def _samples(storage: Storage, shard: PlannedShard) -> Iterator[tuple[str, Sample]]:
    keys = {ref.source: ref.key for ref in shard.clips}
    for sidecar in read_sidecars(storage, keys):
        with local_copy(storage, sidecar.key) as path:
            video = path.read_bytes()
        yield (
            keys[sidecar.id],
            {
                "mp4": video,
                "txt": sidecar.request.prompt.encode(),
                "json": to_json(_description(sidecar)),
            },
        )


def _description(sidecar: Sidecar) -> dict[str, object]:
    request = sidecar.request
    return {
        "caption": request.prompt,
        "num_frames": sidecar.frames,
        "fps": request.fps,
        "height": request.height,
        "width": request.width,
        "sha256": sidecar.sha256,
        "source": {"id": sidecar.id, "model": sidecar.model.name, "seed": sidecar.seed},
        "metadata": request.metadata,
    }
