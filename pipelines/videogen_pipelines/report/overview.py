"""What a report says of the whole run: its numbers, its settings, and what its metrics mean."""

from __future__ import annotations

from typing import Any

from videogen.storage import Storage
from videogen_pipelines.evaluation.sets_table import warnings_of
from videogen_pipelines.redact import redact
from videogen_pipelines.report.clips import Selection
from videogen_pipelines.report.scores import Scores
from videogen_pipelines.results import read_outcomes
from videogen_pipelines.run_record import read_run_record
from videogen_pipelines.run_view import look
from videogen_pipelines.sidecar import current_versions, now
from videogen_pipelines.status import Status
from videogen_pipelines.success import read_success
from videogen_pipelines.summary import summarise

SCHEMA = 1


def overview(storage: Storage, selection: Selection, scores: Scores) -> dict[str, Any]:
    """JSON types only.

    Raises:
        StorageError: the storage failed, or a record is damaged.
    """
    found = {
        "schema": SCHEMA,
        "kind": selection.kind,
        "uri": redact(storage.uri),
        "made_at": now().isoformat(timespec="seconds"),
        "made_by": current_versions()["videogen"],
        "shown": len(selection.clips),
        "total": selection.total,
        "metrics": [_about(scores, metric.name) for metric in scores.metrics],
        "skipped": scores.summary.get("skipped", {}),
        "scored": scores.summary.get("scored", 0),
        "evaluated_at_px": scores.summary.get("size"),
        "sets": _sets(scores.summary.get("sets")),
    }
    if selection.kind == "run":
        found["run"] = _run(storage)
    return found


def _sets(found: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the page shows of the clips as a set; None of scores that know nothing of it."""
    return None if found is None else {**found, "notes": warnings_of(found)}


def _about(scores: Scores, name: str) -> dict[str, Any]:
    return {"name": name, **scores.summary["metrics"][name]}


def _run(storage: Storage) -> dict[str, Any]:
    record, view = read_run_record(storage), look(storage)
    summary = summarise(read_outcomes(storage), _elapsed_s(view.status))
    return {
        "state": _state(storage, view.state),
        "rows": view.rows,
        "pending": view.pending,
        "model": record.model.name,
        "model_digest": record.model.digest,
        "manifest": redact(record.manifest_uri),
        "invocation": record.invocation,
        "started_at": record.created_at.isoformat(timespec="seconds"),
        "versions": record.versions,
        "node": record.node,
        "config": record.config,
        "config_sha256": record.config_sha256,
        **summary.to_dict(),
    }


def _state(storage: Storage, told: str) -> str:
    """How the run stands; one that left no status may have said that it is complete."""
    success = read_success(storage) if told == "unknown" else None
    if success is None:
        return told
    return "some_failed" if success.failed else "complete"


def _elapsed_s(status: Status | None) -> float | None:
    """How long a run of one invocation took; None while it goes on, and of a resumed run.

    A status knows of its own invocation alone, and the clips are those of all of them.
    """
    if status is None or not status.ended or status.invocation != 1:
        return None
    return (status.updated_at - status.started_at).total_seconds()
