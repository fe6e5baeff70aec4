"""Which rows a run was asked for, and how each is said to have ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from videogen.errors import StorageError, VideogenError
from videogen.storage import Storage
from videogen_pipelines.job import Job
from videogen_pipelines.manifest import InvalidRow
from videogen_pipelines.recorded import recorded_job
from videogen_pipelines.results import ResultRow, has_results, read_result_rows, read_result_states
from videogen_pipelines.run_record import read_run_record


@dataclass
class Rows:
    """The rows of a run.

    Attributes:
        source: "results", "manifest" or "storage" (nothing tells the rows).
        clip_ids: id -> the clip id asked for (None: the row is not valid), of all rows.
        states: id -> how it is said to have ended, of rows that are not "done": "failed" if the
            failure has a name, "unnamed" if not, "pending".
        note: why they come from there.
        read: reads them with their requests, in order.
    """

    source: str = "storage"
    clip_ids: dict[str, str | None] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    note: str = ""
    read: Callable[[], Iterator[ResultRow]] | None = None


def read_rows(storage: Storage, *, trust_results: bool) -> Rows:
    """The rows, from the results of a finished run, else from the manifest that it recorded.

    Args:
        trust_results: whether the results are those of the latest invocation, and undamaged.

    Raises:
        StorageError: this is no run directory, or it cannot be read.
    """
    read_run_record(storage)
    if trust_results and has_results(storage):
        return _from_results(storage)
    try:
        return _from_manifest(recorded_job(storage))
    except VideogenError as error:
        why = f"the manifest of the run cannot be read here ({error})"
    try:
        if has_results(storage):
            rows = _from_results(storage)
            rows.note = f"{why}; the rows are those of the last results"
            return rows
    except StorageError as error:
        why = f"{why}, nor can the results ({error})"
    return Rows(note=f"{why}; rows that left no trace cannot be missed")


def _from_results(storage: Storage) -> Rows:
    rows = Rows("results", read=lambda: read_result_rows(storage))
    for name, clip, state, error_class in read_result_states(storage):
        rows.clip_ids[name] = clip
        if state == "failed" and not error_class:
            rows.states[name] = "unnamed"
        elif state != "done":
            rows.states[name] = state
    return rows


def _from_manifest(job: Job) -> Rows:
    def read() -> Iterator[ResultRow]:
        for row in job.rows({}):
            if isinstance(row, InvalidRow):
                yield ResultRow(row.id, None, None)
            else:
                yield ResultRow(row.request.id, row.clip_id, row.request)

    rows = Rows("manifest", read=read)
    rows.clip_ids.update((row.id, row.clip_id) for row in read())
    return rows
