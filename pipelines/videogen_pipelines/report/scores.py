"""`Scores`, what `videogen evaluate` wrote about the clips of a report."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from videogen.errors import StorageError
from videogen.storage import MissingKeyError, Storage
from videogen_pipelines.evaluation.evaluate import CLIPS_KEY, SUMMARY_KEY


@dataclass(frozen=True)
class MetricAbout:
    """How to read a metric."""

    name: str
    direction: str = "info"
    unit: str = ""
    about: str = ""


@dataclass(frozen=True)
class ClipScores:
    """The numbers of one clip, by metric; `curves` is the key of its curves."""

    values: Mapping[str, float]
    p95: Mapping[str, float]
    worst_frame: Mapping[str, int]
    skipped: Mapping[str, str]
    curves: str | None
    about: Mapping[str, Any]
    error: str | None


@dataclass(frozen=True)
class Scores:
    """All scores below one output; empty where nobody evaluated."""

    storage: Storage
    metrics: tuple[MetricAbout, ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, storage: Storage) -> Scores:
        """What stands in `metrics/` below `storage`.

        Raises:
            StorageError: the storage failed, or a file there is damaged.
        """
        try:
            table = _table(storage)
            summary = json.loads(storage.read(SUMMARY_KEY))
        except MissingKeyError:
            return cls(storage)
        except ValueError as error:
            raise _damaged(storage, SUMMARY_KEY, error) from error
        known = summary.get("metrics", {})
        metrics = tuple(
            MetricAbout(name, said["direction"], said["unit"], said["about"])
            for name, said in known.items()
            if name in table.column_names
        )
        return cls(storage, metrics, summary, {row["id"]: row for row in table.to_pylist()})

    def of(self, name: str, version: str) -> ClipScores | None:
        """The scores of a clip; None if it has none, or they are of another file of that name."""
        row = self.rows.get(name)
        if row is None or (row["version"] and version and row["version"] != version):
            return None
        names = [metric.name for metric in self.metrics]
        return ClipScores(
            values=_present(row, {name: name for name in names}),
            p95=_present(row, {name: f"{name}.p95" for name in names}),
            worst_frame=_present(row, {name: f"{name}.worst_frame" for name in names}),
            skipped=json.loads(row["skipped"] or "{}"),
            curves=row["curves"],
            about={name: row.get(name) for name in ("num_frames", "fps", "height", "width")},
            error=row["error"],
        )


def _present(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    return {name: row[column] for name, column in columns.items() if row.get(column) is not None}


def _table(storage: Storage) -> pa.Table:
    try:
        return pq.read_table(io.BytesIO(storage.read(CLIPS_KEY)))
    except pa.ArrowException as error:
        raise _damaged(storage, CLIPS_KEY, error) from error


def _damaged(storage: Storage, key: str, error: Exception) -> StorageError:
    return StorageError(
        f"{storage.uri}/{key}: got {error}, expected what 'videogen evaluate' writes. Fix: run it "
        "again."
    )
