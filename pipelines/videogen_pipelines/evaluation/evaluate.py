"""The program `evaluate`: every clip that has no score gets one, then all are added up.

It keeps nothing that storage does not have: kill it and the same command continues.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, NamedTuple

import pyarrow.parquet as pq
from rich.console import Console

from videogen.storage import Storage
from videogen.storage.temporary import temporary_folder
from videogen_cluster.listener import Listener
from videogen_cluster.scheduler import Completed, DeadLettered
from videogen_pipelines.config import RunConfig
from videogen_pipelines.engine import Items, run_workload
from videogen_pipelines.evaluation.columns import ScoredClip, row_of, schema_of, table_of
from videogen_pipelines.evaluation.job import EvaluationJob
from videogen_pipelines.evaluation.pairs import describe_pairs
from videogen_pipelines.evaluation.sets import SETS_KEY, FeatureTable, describe_sets
from videogen_pipelines.evaluation.settings import versions
from videogen_pipelines.evaluation.sources import RunSource
from videogen_pipelines.evaluation.store import METRICS_PREFIX
from videogen_pipelines.evaluation.summary import MetricSummary, PointSummaries, point_of
from videogen_pipelines.evaluation.workload import EvaluateWorkload
from videogen_pipelines.progress import Progress
from videogen_pipelines.redact import redact
from videogen_pipelines.run_listener import RunListener, ScreenListener

State = Literal["complete", "some_failed", "interrupted"]
Engine = Callable[[EvaluationJob, Items, Listener, int], bool]
"""Scores items, tells the listener, and returns whether it was stopped with some left."""

CLIPS_KEY = f"{METRICS_PREFIX}clips.parquet"
SUMMARY_KEY = f"{METRICS_PREFIX}summary.json"
LOCK = ".lock-evaluate"
_NONE: Mapping[str, str] = {}
_BATCH = 1000


@dataclass(frozen=True)
class EvaluationOutcome:
    """How an evaluation ended; `summary` is what `summary.json` says, None if interrupted."""

    state: State
    uri: str
    clips: int
    scored_now: int
    frames_now: int
    elapsed_s: float
    failures: Mapping[str, str]
    summary: dict[str, Any] | None

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {
            "state": self.state,
            "out": self.uri,
            "clips": self.clips,
            "scored_now": self.scored_now,
            "frames_now": self.frames_now,
            "elapsed_s": round(self.elapsed_s, 3),
            "failures": dict(self.failures),
            "summary": self.summary,
        }


@dataclass
class ScoreListener(Listener):
    """Counts what was scored and remembers what could not be."""

    scored: int = 0
    frames: int = 0
    failures: dict[str, str] = field(default_factory=dict)

    def completed(self, decision: Completed) -> None:
        self.scored += 1
        self.frames += int(decision.record.get("num_frames", 0))

    def dead_lettered(self, decision: DeadLettered) -> None:
        failure = decision.failure
        self.failures[decision.item_id] = redact(f"{failure.error_class}: {failure.message}")


def score_on_ray(job: EvaluationJob, items: Items, listener: Listener, to_do: int) -> bool:
    """Score `items` on a Ray of our own, or on the cluster that the configuration names.

    Raises:
        ConfigError: the cluster is smaller than the configuration asks for.
        ClusterError: Ray cannot be started or joined, or gangs keep failing.
    """
    return run_workload(EvaluateWorkload(job.task()), job.config, items, listener, to_do)


def evaluate(
    job: EvaluationJob,
    console: Console,
    log_interval_s: float = 10.0,
    engine: Engine = score_on_ray,
) -> EvaluationOutcome:
    """Score all clips of a job to the end, or until it is interrupted.

    Raises:
        StorageError: a storage fails, or another process evaluates there.
        ConfigError: the cluster is smaller than the configuration asks for.
        ClusterError: Ray cannot be started or joined, or gangs keep failing.
    """
    started = time.monotonic()
    heard = ScoreListener()
    with job.out.lock(LOCK):
        screen = _Screen(console, log_interval_s)
        interrupted = _score(job, heard, screen, engine)
        unknown = ScoreListener()
        if job.reference is not None and not interrupted:
            interrupted = _score(job.reference, unknown, screen, engine, "of the reference ")
        summary = None if interrupted else aggregate(job, heard.failures, unknown.failures)
    state: State = "some_failed" if heard.failures else "complete"
    return EvaluationOutcome(
        state="interrupted" if interrupted else state,
        uri=job.out.uri,
        clips=len(job.source.ids),
        scored_now=heard.scored,
        frames_now=heard.frames,
        elapsed_s=time.monotonic() - started,
        failures=heard.failures,
        summary=summary,
    )


class _Screen(NamedTuple):
    console: Console
    log_interval_s: float


def _score(
    job: EvaluationJob, heard: ScoreListener, screen: _Screen, engine: Engine, which: str = ""
) -> bool:
    """Score what has no score; returns whether that was stopped."""
    waiting = job.unscored()
    to_do = len(waiting)
    progress = Progress(to_do, *screen)
    done = len(job.source.ids) - to_do
    progress.say(f"{to_do:,} clips {which}to score, {done:,} done already")
    if not to_do:
        return False
    listener = RunListener([heard, ScreenListener(progress)])
    with progress:
        return engine(job, job.items(waiting), listener, to_do)


def add_up_run(config: RunConfig, storage: Storage) -> dict[str, Any]:
    """Add up what was scored while the clips of a run were made; see `aggregate`.

    Clips that were not, because they were made before or adopted, are missing until `evaluate`.
    """
    return aggregate(EvaluationJob.of(config, RunSource(storage), storage), {})


def aggregate(
    job: EvaluationJob, failures: Mapping[str, str], unknown: Mapping[str, str] = _NONE
) -> dict[str, Any]:
    """Write `metrics/clips.parquet`, `sets.json` and `summary.json` from the stored scores.

    Args:
        failures: why clips have no score, by id.
        unknown: the same of clips of the reference.

    Returns:
        What the summary says.

    Raises:
        StorageError: a storage failed, or a score is damaged.
    """
    names = [metric.name for metric in job.evaluator.metrics]
    grid = job.grid
    schema = schema_of(names, grid)
    numbers = MetricSummary(job.evaluator.metrics)
    points = PointSummaries(job.evaluator.metrics, grid)
    table = FeatureTable(len(job.source.ids))
    counts = {"scored": 0, "failed": 0, "missing": 0}
    with temporary_folder() as folder:
        path = folder / "clips.parquet"
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for batch in _batches(_scored(job, failures)):
                rows = [row_of(scored) for scored in batch]
                for scored, row in zip(batch, rows, strict=True):
                    counts[row["status"]] += 1
                    if scored.score is not None:
                        numbers.add(scored.score)
                        points.add(scored.clip, scored.score)
                        table.add(scored.score, row["prompt"], point_of(scored.clip, grid))
                writer.write_table(table_of(rows, schema))
        job.out.put(CLIPS_KEY, path)
    summary = {
        **_heading(job, counts),
        **numbers.to_dict(),
        "sweep": points.to_dict(),
        "sets": _write_sets(job, table, unknown),
        "failures": dict(sorted(failures.items())),
    }
    text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    job.out.put(SUMMARY_KEY, text.encode())
    return summary


def _write_sets(
    job: EvaluationJob, table: FeatureTable, unknown: Mapping[str, str]
) -> dict[str, Any]:
    """Write `metrics/sets.json`; returns what it says, without the pairs one by one."""
    other = job.reference
    known = None if other is None else _features_of(other)
    sets: dict[str, Any] = {"schema": 1, **describe_sets(table, job.grid, known)}
    sets |= {"reference": None, "pairs": None}
    if other is not None and known is not None:
        sets["reference"] = {
            "uri": redact(other.source.storage.uri),
            "clips": known.num_clips,
            "failures": dict(sorted(unknown.items())),
        }
        sets["pairs"] = describe_pairs(job.source, other.source)
    text = json.dumps(sets, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    job.out.put(SETS_KEY, text.encode())
    if sets["pairs"] is not None:
        sets["pairs"] = {name: said for name, said in sets["pairs"].items() if name != "clips"}
    return sets


def _features_of(job: EvaluationJob) -> FeatureTable:
    table = FeatureTable(len(job.source.ids))
    for scored in _scored(job, {}):
        if scored.score is not None:
            table.add(scored.score, scored.score.prompt, None)
    return table


def _heading(job: EvaluationJob, counts: Mapping[str, int]) -> dict[str, Any]:
    return {
        "schema": 1,
        "source": {"kind": job.source.kind, "uri": redact(job.source.storage.uri)},
        "fingerprint": job.store.fingerprint,
        "size": job.evaluator.size,
        "versions": versions(),
        "clips": len(job.source.ids),
        **counts,
    }


def _scored(job: EvaluationJob, failures: Mapping[str, str]) -> Iterator[ScoredClip]:
    """Every clip of the source with its score, in the order of the ids."""
    for batch in _batches(job.source.clips()):
        found = job.store.read([(clip.id, clip.version) for clip in batch])
        for clip, score in zip(batch, found, strict=True):
            yield ScoredClip(
                clip,
                score,
                error=None if score else failures.get(clip.id),
                score_key=job.store.score_key(clip.id, clip.version),
                curves_key=job.store.curves_key(clip.id, clip.version),
            )


def _batches(source: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(source)
    while batch := list(islice(rest, _BATCH)):
        yield batch
