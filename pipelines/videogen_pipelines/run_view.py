"""`look`: how a run stands, read from its storage alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from videogen.storage import Storage
from videogen_pipelines.sidecar import now
from videogen_pipelines.status import SILENT_S, Status, read_status


@dataclass(frozen=True)
class RunView:
    """What can be said of a run without its coordinator.

    `state` is that of `status.json`, or "silent" when a run that should go on has not been heard
    of for a minute, or "unknown" where no coordinator ever wrote one and the clips were counted.
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

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state not in ("starting", "running", "draining")

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
        }


def look(storage: Storage, at: datetime | None = None) -> RunView:
    """How the run in `storage` stands.

    One small object is read. Only where it is missing are the ledger and the list of sidecars.

    Args:
        at: the time to compare with; None is now.

    Raises:
        StorageError: it is no run directory, or cannot be read.
    """
    status = read_status(storage)
    if status is None:
        return _counted(storage)
    silent_s = status.silent_s(at or now())
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
