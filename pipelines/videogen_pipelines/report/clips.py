"""`ReportClip`, what the report knows of one row of a run, and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from videogen.storage import Storage
from videogen_pipelines.committed import committed_ids, read_sidecars
from videogen_pipelines.evaluation.sources import VERSION_DIGITS, open_source
from videogen_pipelines.results import (
    has_results,
    read_outcomes,
    read_result_failures,
    read_result_rows,
    read_result_states,
)
from videogen_pipelines.run_record import FIRST_KEY
from videogen_pipelines.sidecar import Sidecar

Status = Literal["done", "failed", "pending"]


@dataclass(frozen=True)
class Failure:
    """Why a row has no clip."""

    error_class: str
    message: str
    attempts: int


@dataclass
class ReportClip:
    """One row: `request` holds the fields of a manifest, `key` and `version` name the video."""

    id: str
    status: Status = "pending"
    request: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None
    version: str = ""
    sidecar: Sidecar | None = None
    failure: Failure | None = None

    @property
    def fps(self) -> float | None:
        return self.request.get("fps")

    def row(self) -> str:
        """The line of a manifest that makes this clip again; "" for a file that no run made."""
        if not self.request:
            return ""
        said = {k: v for k, v in self.request.items() if v not in (None, {}, [], ())}
        return json.dumps(said, ensure_ascii=False)


@dataclass(frozen=True)
class Selection:
    """The clips that a report shows, of `total`."""

    kind: Literal["run", "folder"]
    clips: Sequence[ReportClip]
    total: int


def select_clips(storage: Storage, limit: int) -> Selection:
    """The rows of a run in the order of its manifest, or the videos of a folder.

    Args:
        limit: of more rows than that, so many evenly spaced ones are taken.

    Raises:
        StorageError: there are no clips, the storage failed, or a record is damaged.
    """
    if storage.exists(FIRST_KEY):
        return _of_run(storage, limit)
    source = open_source(storage)
    names = set(thin(source.ids, limit))
    clips = [
        ReportClip(clip.id, "done", key=clip.key, version=clip.version)
        for clip in source.clips()
        if clip.id in names
    ]
    return Selection("folder", clips, len(source.ids))


def thin(names: Sequence[str], limit: int) -> list[str]:
    """At most `limit` of `names`, evenly spaced, the first among them."""
    if len(names) <= limit:
        return list(names)
    return [names[index * len(names) // limit] for index in range(limit)]


def _of_run(storage: Storage, limit: int) -> Selection:
    committed = set(committed_ids(storage))
    failures = _failures(storage)
    planned = [name for name, *_ in read_result_states(storage)]
    rest = sorted((committed | failures.keys()) - set(planned))
    names = [*planned, *rest]
    clips = {name: ReportClip(name) for name in thin(names, limit)}
    for sidecar in read_sidecars(storage, [name for name in clips if name in committed]):
        clips[sidecar.id] = _of_sidecar(sidecar)
    _add_requests(storage, clips)
    for name, failure in failures.items():
        if name in clips and clips[name].status != "done":
            clips[name].status, clips[name].failure = "failed", failure
    return Selection("run", list(clips.values()), len(names))


def _of_sidecar(sidecar: Sidecar) -> ReportClip:
    request = sidecar.request.model_dump(mode="json")
    return ReportClip(
        id=sidecar.id,
        status="done",
        request={**request, "seed": sidecar.seed},
        key=sidecar.key,
        version=sidecar.sha256[:VERSION_DIGITS],
        sidecar=sidecar,
    )


def _add_requests(storage: Storage, clips: Mapping[str, ReportClip]) -> None:
    """What was asked for, where there is no clip to tell."""
    wanting = {name for name, clip in clips.items() if clip.sidecar is None}
    if not wanting:
        return
    for row in read_result_rows(storage):
        if row.id in wanting and row.request is not None:
            clips[row.id].request = row.request.model_dump(mode="json")


def _failures(storage: Storage) -> dict[str, Failure]:
    if has_results(storage):
        return _by_id(read_result_failures(storage))
    outcomes = read_outcomes(storage).to_pylist()
    return _by_id(row for row in outcomes if row["state"] == "failed")


def _by_id(records: Iterable[Mapping[str, Any]]) -> dict[str, Failure]:
    return {
        record["id"]: Failure(
            record["error_class"] or "unknown",
            record["error_message"] or "",
            record["attempts"] or 0,
        )
        for record in records
    }
