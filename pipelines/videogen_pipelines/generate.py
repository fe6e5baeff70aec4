"""The program `generate`: everything asked for, minus everything committed, made by gangs.

The coordinator keeps nothing that storage does not have: kill it and the same command continues.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from rich.console import Console

from videogen.requests import ClipRequest
from videogen_cluster.failures import ErrorClass
from videogen_pipelines.committed import orphaned_clips, read_committed, read_sidecars
from videogen_pipelines.engine import Engine, run_on_ray
from videogen_pipelines.job import Job
from videogen_pipelines.manifest import InvalidRow
from videogen_pipelines.observers import Observers
from videogen_pipelines.partials import remove_leftovers
from videogen_pipelines.plan import Plan, PlannedClip
from videogen_pipelines.progress import Progress
from videogen_pipelines.results import ResultRow, RunCounts
from videogen_pipelines.run_directory import RunDirectory
from videogen_pipelines.scratch import clean_scratch
from videogen_pipelines.selection import Selection
from videogen_pipelines.sidecar import Provenance
from videogen_pipelines.summary import RunSummary

State = Literal["complete", "some_failed", "interrupted"]
SHEET_CLIPS = 12


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    state: State
    uri: str
    counts: RunCounts
    summary: RunSummary
    contact_sheet: str | None
    evaluation: dict[str, Any] | None = None
    """What `metrics/summary.json` says, if clips were scored while they were made."""
    shards: int | None = None
    """WebDataset shards that hold the clips as well, if there are to be any."""

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {
            "state": self.state,
            "out": self.uri,
            "rows": self.counts.rows,
            "done": self.counts.done,
            "failed": self.counts.failed,
            "pending": self.counts.pending,
            "contact_sheet": self.contact_sheet,
            "summary": self.summary.to_dict(),
            "evaluation": self.evaluation,
            "shards": self.shards,
        }


def make_plan(job: Job) -> Plan:
    """What a run would do, without writing anything.

    Raises:
        OutputConflictError: ids of the manifest hold other clips already.
    """
    return _plan(job, RunDirectory(job.storage), read_committed(job.storage))


def generate(
    job: Job,
    console: Console,
    log_interval_s: float = 10.0,
    engine: Engine = run_on_ray,
    selection: Selection | None = None,
) -> Outcome:
    """Run a job to its end, or until it is interrupted.

    Args:
        console: where progress goes.
        engine: what makes the clips.
        selection: which of the rows that are not done are made; None is all of them.

    Raises:
        OutputConflictError: ids hold other clips already; nothing was made.
        StorageError: the output cannot be written, or another process writes there.
        ConfigError: the cluster is smaller than the configuration asks for.
        ClusterError: Ray cannot be started or joined, or gangs keep failing.
    """
    started = time.monotonic()
    with RunDirectory(job.storage) as run:
        record = run.initialise(job.record())
        with Observers.of(job, run, record.invocation) as observers:
            clean_scratch(job.storage)
            committed = run.committed()
            _adopt_orphans(job, run, committed)
            remove_leftovers(job.storage)
            plan = _plan(job, run, committed, selection)
            standing = None if plan.to_do else run.standing(plan.total, plan.done)
            if standing is None:
                run.withdraw_success()
            progress = Progress(plan.to_do, console, log_interval_s)
            progress.say(_opening(plan))
            listener = observers.listener(plan, progress)
            is_idle = standing or not (plan.to_do or plan.invalid or plan.held)
            items = () if is_idle else _items(job, run, committed, selection)
            try:
                with progress if plan.to_do else nullcontext():
                    # With nothing to make, the bad rows are still to be recorded.
                    interrupted = engine(job, items, listener) if plan.to_do else any(items)
            finally:
                clean_scratch(job.storage)
            remove_leftovers(job.storage)
            elapsed_s = time.monotonic() - started
            outcome = _end(job, run, plan, observers, interrupted, elapsed_s, standing)
            observers.ended(outcome.state)
        return outcome


def _opening(plan: Plan) -> str:
    parts = [f"{plan.to_do:,} clips to make", f"{plan.done:,} done already"]
    if plan.invalid:
        parts.append(f"{plan.invalid:,} bad rows skipped")
    return ", ".join(parts)


def _plan(
    job: Job, run: RunDirectory, committed: dict[str, str], selection: Selection | None = None
) -> Plan:
    """Compare what the rows ask for with what is committed."""
    chosen, failures = (selection.chosen, selection.failures) if selection else (None, None)
    plan, conflicts = job.row_index().compare(committed, chosen, failures)
    run.refuse_conflicts(conflicts)
    return plan


def _adopt_orphans(job: Job, run: RunDirectory, committed: dict[str, str]) -> None:
    """Commit the clips whose makers died between the clip and its sidecar."""
    found = orphaned_clips(job.storage, committed)
    if not found:
        return
    wanted: dict[str, Provenance] = {}
    for row in job.rows(committed):
        if isinstance(row, PlannedClip) and row.request.id in found:
            wanted[row.request.id] = job.provenance(row)
            if len(wanted) == len(found):
                break
    run.adopt_orphans(committed, wanted.get, found=found)


def _is_held(row: PlannedClip | InvalidRow, selection: Selection | None) -> bool:
    if selection is None or isinstance(row, InvalidRow) or row.done:
        return False
    return not selection.wants(row.request.id)


def _items(
    job: Job, run: RunDirectory, committed: dict[str, str], selection: Selection | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is still to be made; bad rows are recorded in passing."""
    for row in job.rows(committed):
        if isinstance(row, InvalidRow):
            run.record_failure(row.id, ErrorClass.INVALID_REQUEST, row.reason, attempts=0)
        elif selection is not None and _is_held(row, selection):
            selection.leave(run, row.request.id)
        elif not row.done:
            yield row.request.id, row.payload()


def _end(
    job: Job,
    run: RunDirectory,
    plan: Plan,
    observers: Observers,
    interrupted: bool,
    elapsed_s: float,
    standing: RunCounts | None = None,
) -> Outcome:
    made = observers.ledger
    if interrupted:
        done, failed = plan.done + made.done, plan.failed + made.failed
        counts = RunCounts(plan.total, done, failed, plan.total - done - failed)
    else:
        counts = standing or run.finish(_result_rows(job))
    state: State = "some_failed" if counts.failed or counts.pending else "complete"
    return Outcome(
        state="interrupted" if interrupted else state,
        uri=job.storage.uri,
        counts=counts,
        summary=observers.costed(run.summary(elapsed_s)),
        contact_sheet=None if interrupted else _contact_sheet(job, made.done),
        evaluation=None if interrupted else _evaluation(job),
        shards=None if interrupted else _shards(job),
    )


def _evaluation(job: Job) -> dict[str, Any] | None:
    """Add up what clips scored while they were made, if they did."""
    if not job.config.evaluate.scores_clips:
        return None
    from videogen_pipelines.evaluation.evaluate import add_up_run

    return add_up_run(job.config, job.storage)


def _shards(job: Job) -> int | None:
    """Put the clips into shards as well, if that was asked for."""
    if job.config.output.format != "webdataset":
        return None
    from videogen_pipelines.data.export import export_run

    return export_run(job.storage).shards


def _result_rows(job: Job) -> Iterator[ResultRow]:
    for row in job.rows({}):
        if isinstance(row, InvalidRow):
            yield ResultRow(row.id, None, None)
        else:
            yield ResultRow(row.request.id, row.clip_id, row.request)


def _contact_sheet(job: Job, made: int) -> str | None:
    """Draw the first clips of the manifest, unless there is nothing new to draw."""
    from videogen_pipelines.contact_sheet import SHEET_KEY, write_contact_sheet

    if not job.config.output.contact_sheet:
        return None
    if made == 0 and job.storage.exists(SHEET_KEY):
        return SHEET_KEY
    requests = job.inputs.requests(job.report)
    ids = (request.id for request in requests if isinstance(request, ClipRequest))
    sidecars = islice(read_sidecars(job.storage, islice(ids, 2 * SHEET_CLIPS)), SHEET_CLIPS)
    title = f"{job.report.path} · model {job.model.stamp.name}"
    return write_contact_sheet(job.storage, sidecars, title)
