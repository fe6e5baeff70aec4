"""The program `data pack`: every video is looked at, then the clips that are good become shards.

It keeps nothing that storage does not have: kill it and the same command continues. Videos that
were added meanwhile go into further shards; those that are there stay as they are.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from rich.console import Console

from videogen.storage import Storage
from videogen_cluster.failures import ErrorClass
from videogen_cluster.workload import Workload
from videogen_pipelines.data.duplicates import Originals
from videogen_pipelines.data.engine import (
    Engine,
    Stage,
    StageListener,
    run_stage,
    work_on_ray,
)
from videogen_pipelines.data.pack_job import PackJob
from videogen_pipelines.data.pack_workload import PackingTask, PackWorkload
from videogen_pipelines.data.records import NO_CAPTION, ClipRecord, SourceRecord
from videogen_pipelines.data.report import DroppedClip, PackReport, write_report
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
from videogen_pipelines.data.shard_workload import ShardingTask, ShardWorkload
from videogen_pipelines.data.store import PARTS_PREFIX
from videogen_pipelines.data.vanished import forget_vanished

LOCK = ".lock-pack"
State = Literal["complete", "some_failed", "interrupted"]
_OF_THE_VIDEO = {
    ErrorClass.RANK_DEATH,
    ErrorClass.HANG,
    ErrorClass.OUT_OF_MEMORY,
    ErrorClass.ENCODE,
    ErrorClass.UNEXPECTED,
}
"""Failures that say something about the video: its decoder crashes, or never ends."""


def pack(
    job: PackJob, console: Console, log_interval_s: float = 10.0, engine: Engine = work_on_ray
) -> PackReport:
    """Pack all videos of a job to the end, or until it is interrupted.

    Raises:
        StorageError: a storage fails, or another process packs there.
        ConfigError: it was begun with other options, or the cluster is too small.
        ClusterError: Ray cannot be started or joined, or gangs keep failing.
    """
    started = time.monotonic()
    stage = Stage(job.config, console, log_interval_s, engine)
    with job.out.lock(LOCK):
        job.record()
        versions = list(_versions(job))
        _say_unused(job, console)
        dropped: list[DroppedClip] = []
        planned: list[PlannedShard] = []
        heard = _look_at_new(job, stage, versions)
        if _state(heard) == "complete":
            dropped = _plan(job, versions)
            planned = [shard for each in read_rounds(job.out) for shard in each.shards]
            heard = _write(job, stage, versions, planned)
        report = PackReport(
            state=_state(heard),
            uri=job.out.uri,
            videos=len(versions),
            clips=sum(len(shard.clips) for shard in planned),
            shards=len(planned),
            buckets=_buckets(planned),
            failures=heard.failures,
            unused_rows=job.unused_rows,
            elapsed_s=time.monotonic() - started,
        )
        if report.state == "complete":
            report = write_report(job.out, report, dropped)
            _remove_parts(job.out)
    return report


def _versions(job: PackJob) -> Iterator[tuple[str, str]]:
    """(id, version) of every video; what is listed and is not there is dropped by name."""
    for clip in job.source.clips():
        if clip.missing:
            dropped = f"missing: {clip.missing}"
            record = SourceRecord(id=clip.id, key=clip.key, version=clip.version, dropped=dropped)
            job.store.commit(record)
        yield clip.id, clip.version


def _say_unused(job: PackJob, console: Console) -> None:
    if job.unused_rows:
        rows = job.unused_rows + len(job.captions)
        console.print(f"{job.unused_rows:,} of {rows:,} rows of the index are of no video here")


def _look_at_new(job: PackJob, stage: Stage, versions: list[tuple[str, str]]) -> StageListener:
    looked_at = _worth_keeping(job, versions)
    waiting = [name for name in versions if name not in looked_at]
    done = len(versions) - len(waiting)
    return _look(job, stage, job.items(waiting), dict(waiting), done)


def _worth_keeping(job: PackJob, versions: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """The videos that were looked at, without those that had no caption then and have one now."""
    looked_at = job.store.listed()
    for record in job.store.records(name for name in versions if name in looked_at):
        if record.dropped.startswith(NO_CAPTION) and job.has_caption(record.key):
            job.store.forget(record)
            looked_at.remove((record.id, record.version))
    return looked_at


def _look(
    job: PackJob,
    stage: Stage,
    items: Iterable[tuple[str, Mapping[str, Any]]],
    versions: Mapping[str, str],
    done: int,
) -> StageListener:
    """Look at videos; those that no attempt gets through are dropped, and are no failures."""
    task = PackingTask(job.source.storage.uri, job.out.uri, job.settings)
    heard = run_stage(stage, PackWorkload(task), items, len(versions), done, "videos")
    return replace(heard, failures=_without_given_up(job, heard, versions))


def _without_given_up(
    job: PackJob, heard: StageListener, versions: Mapping[str, str]
) -> dict[str, str]:
    """Drop by name the videos that no attempt got through; returns the other failures."""
    others: dict[str, str] = {}
    for name, why in heard.failures.items():
        if heard.classes[name] not in _OF_THE_VIDEO:
            others[name] = why
            continue
        (clip,) = job.source.clips([name])
        dropped = f"failed: {why}"
        record = SourceRecord(id=name, key=clip.key, version=versions[name], dropped=dropped)
        job.store.commit(record)
    return others


def _write(
    job: PackJob, stage: Stage, versions: list[tuple[str, str]], planned: list[PlannedShard]
) -> StageListener:
    """Write the shards that are planned and not there, once all they are made of is there."""
    forget_vanished(job.out)
    stored = set(job.out.list(INDEX_PREFIX))
    waiting = [shard for shard in planned if shard.index_key not in stored]
    heard = _cut_again(job, stage, versions, waiting)
    if _state(heard) != "complete":
        return heard
    return _shard(job, stage, waiting, len(planned) - len(waiting))


def _cut_again(
    job: PackJob, stage: Stage, versions: list[tuple[str, str]], waiting: list[PlannedShard]
) -> StageListener:
    """Look again at videos of which a shard needs what was cut out once, and is gone.

    That happens to a shard that somebody deleted, and to a copy that another `near` makes none.
    """
    sources = {ref.source for shard in waiting for ref in shard.clips}
    clips = {ref.key for shard in waiting for ref in shard.clips}
    names = [name for name in versions if name[0] in sources]
    records = list(job.store.without_parts(names, clips))
    if not records:
        return StageListener()
    for record in records:
        job.store.forget(record)
    again = {record.id: record.version for record in records}
    return _look(job, stage, job.items_again(records), again, len(versions) - len(again))


def _shard(job: PackJob, stage: Stage, waiting: list[PlannedShard], done: int) -> StageListener:
    items = ((shard.name, {"shard": shard.model_dump(mode="json")}) for shard in waiting)
    task = ShardingTask(job.source.storage.uri, job.out.uri)
    workload: Workload = ShardWorkload(task)
    return run_stage(stage, workload, items, len(waiting), done, "shards")


def _plan(job: PackJob, versions: list[tuple[str, str]]) -> list[DroppedClip]:
    """Plan shards for what is good, new and no copy; returns what was dropped, and why."""
    rounds = read_rounds(job.out)
    planned = {ref.key: ref for each in rounds for shard in each.shards for ref in shard.clips}
    originals = Originals(job.settings.near)
    of_before = dict.fromkeys((ref.source, ref.version) for ref in planned.values())
    known = job.store.listed()  # the record of a video that is gone may be, too
    for record in job.store.records(name for name in of_before if name in known):
        for clip in record.clips:
            if clip.key in planned:
                originals.add(clip.key, clip.sha256, clip.fingerprint)
    dropped: list[DroppedClip] = []
    fresh: list[Candidate] = []
    for record in job.store.records(sorted(versions)):
        if record.dropped:
            dropped.append(DroppedClip.of_video(record))
        for clip in record.clips:
            if clip.key in planned and planned[clip.key].source == record.id:
                continue
            reason = clip.dropped or _copied(originals, clip)
            if reason:
                dropped.append(DroppedClip.of_clip(record, clip, reason))
                continue
            originals.add(clip.key, clip.sha256, clip.fingerprint)
            fresh.append(_candidate(record, clip))
    if fresh:
        number = len(rounds)
        settings = job.settings
        planned_now = plan_round(fresh, number, settings.shard_clips, settings.shard_bytes)
        store_round(job.out, number, planned_now)
    return dropped


def _copied(originals: Originals, clip: ClipRecord) -> str:
    copy = originals.copy_of(clip.sha256, clip.fingerprint)
    return f"copy: of {copy.of} ({copy.reason})" if copy else ""


def _candidate(record: SourceRecord, clip: ClipRecord) -> Candidate:
    ref = Ref(key=clip.key, source=record.id, version=record.version)
    return Candidate(ref, bucket_of(record.height, record.width, clip.num_frames), clip.num_bytes)


def _remove_parts(storage: Storage) -> None:
    """All that was cut out is in shards by now, or is not wanted."""
    for key in storage.list(PARTS_PREFIX):
        storage.delete(key)


def _buckets(planned: Iterable[PlannedShard]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for shard in planned:
        counts[shard.name.rpartition("/")[0]] += len(shard.clips)
    return dict(sorted(counts.items()))


def _state(heard: StageListener) -> State:
    if heard.interrupted:
        return "interrupted"
    return "some_failed" if heard.failures else "complete"
