"""`look`: how a run stands, read from its storage alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from videogen.storage import Storage
from videogen_pipelines.control import Submitted, read_submitted
from videogen_pipelines.sidecar import now
from videogen_pipelines.status import SILENT_S, Status, read_status


@dataclass(frozen=True)
class RunView:
    """What can be said of a run without its coordinator.

    `state` is that of `status.json`, or "silent" when a run that should go on has not been heard
    of for a minute, or "submitted" when a job was sent to a cluster and has not said a word yet, or
    "unknown" where no coordinator ever wrote one and the clips were counted.
    """

    uri: str
    state: str
    rows: int | None
    done: int
    failed: int
    pending: int | None
    errors_by_class: dict[str, int]
    silent_s: float | None = None
    status: Status | None = None
    submitted: Submitted | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state not in ("submitted", "starting", "running", "draining")

    def to_dict(self) -> dict[str, Any]:
        """JSON types only: everything in `status.json`, with what was found on top."""
        said = self.status.model_dump(mode="json", by_alias=True) if self.status else {}
        return {
            **said,
            "out": self.uri,
            "state": self.state,
            "rows": self.rows,
            "done": self.done,
            "failed": self.failed,
            "pending": self.pending,
            "errors_by_class": self.errors_by_class,
            "silent_s": self.silent_s,
            "submitted": self.submitted and self.submitted.model_dump(mode="json", by_alias=True),
        }


def look(storage: Storage, at: datetime | None = None) -> RunView:
    """How the run in `storage` stands.

    Two small objects are read. Only where both are missing are the ledger and the list of
    sidecars.

    Args:
        at: the time to compare with; None is now.

    Raises:
        StorageError: it is no run directory, or cannot be read.
    """
    status, submitted = read_status(storage), read_submitted(storage)
    if submitted and not _has_spoken(submitted, status):
        return _submitted(storage, submitted, status)
    return _counted(storage) if status is None else _told(storage, status, at or now())


def _has_spoken(submitted: Submitted, status: Status | None) -> bool:
    """Whether `status` is of that job or of a later run, and not of one that it continues.

    What a killed run said last is "running", so the state says nothing of that.
    """
    if status is None:
        return False
    return status.job_id == submitted.job_id or status.updated_at >= submitted.submitted_at


def _told(storage: Storage, status: Status, at: datetime) -> RunView:
    silent_s = status.silent_s(at)
    is_silent = not status.ended and silent_s > SILENT_S
    return RunView(
        uri=storage.uri,
        state="silent" if is_silent else status.state,
        rows=status.rows,
        done=status.done,
        failed=status.failed,
        pending=status.pending,
        errors_by_class=status.errors_by_class,
        silent_s=None if status.ended else silent_s,
        status=status,
    )


def _submitted(storage: Storage, submitted: Submitted, before: Status | None) -> RunView:
    """What an earlier invocation has made stands; how it ended does not matter any more."""
    return RunView(
        uri=storage.uri,
        state="submitted",
        rows=before.rows if before else None,
        done=before.done if before else 0,
        failed=0,
        pending=None,
        errors_by_class={},
        submitted=submitted,
    )


def _counted(storage: Storage) -> RunView:
    from videogen_pipelines.results import read_outcomes
    from videogen_pipelines.run_record import read_run_record
    from videogen_pipelines.summary import summarise

    rows = read_run_record(storage).num_rows
    found = summarise(read_outcomes(storage))
    return RunView(
        uri=storage.uri,
        state="unknown",
        rows=rows,
        done=found.done,
        failed=found.failed,
        pending=None if rows is None else max(rows - found.done - found.failed, 0),
        errors_by_class=found.failed_by_class,
    )
