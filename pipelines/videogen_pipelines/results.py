"""The end of a run: `results/*.parquet` with a row per row of the manifest, and `errors.jsonl`."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from videogen.errors import StorageError
from videogen.requests import ClipRequest
from videogen.storage import Storage
from videogen.storage.temporary import temporary_folder
from videogen_pipelines.committed import committed_ids, read_sidecars
from videogen_pipelines.keys import clip_key
from videogen_pipelines.ledger import SCHEMA as LEDGER_SCHEMA
from videogen_pipelines.ledger import failure_record, next_epoch, read_ledger

RESULTS_PREFIX = "results/"
ERRORS_KEY = "errors.jsonl"
PART_ROWS = 100_000
BATCH_ROWS = 10_000

_REQUEST_FIELDS = [
    pa.field("prompt", pa.string()),
    pa.field("negative_prompt", pa.string()),
    pa.field("seed", pa.int64()),
    pa.field("num_frames", pa.int64()),
    pa.field("height", pa.int64()),
    pa.field("width", pa.int64()),
    pa.field("fps", pa.float64()),
    pa.field("num_inference_steps", pa.int64()),
    pa.field("guidance_scale", pa.float64()),
    pa.field("guidance_rescale", pa.float64()),
    pa.field("guidance_interval", pa.list_(pa.float64())),
    pa.field("sampler", pa.string()),
    pa.field("flow_shift", pa.float64()),
    pa.field("eta", pa.float64()),
    pa.field("metadata", pa.string()),  # JSON
]
_WHOLE_REQUEST = "request"  # JSON of all that was asked for; the columns are for people
_OUTCOME_FIELDS = [f for f in LEDGER_SCHEMA if f.name not in ("id", "clip_id", "state", "key")]
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("state", pa.string()),  # done, failed, pending
        pa.field("clip_id", pa.string()),
        *_REQUEST_FIELDS,
        pa.field(_WHOLE_REQUEST, pa.string()),
        pa.field("key", pa.string()),
        *_OUTCOME_FIELDS,
    ]
)


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One row of the manifest; `request` and `clip_id` are None if it could not be resolved."""

    id: str
    clip_id: str | None
    request: ClipRequest | None


@dataclass(frozen=True)
class RunCounts:
    """How many manifest rows ended how; `pending` ones were not reached."""

    rows: int = 0
    done: int = 0
    failed: int = 0
    pending: int = 0


class Outcomes:
    """What became of each id: the ledger's last word, where the sidecars agree."""

    def __init__(self, storage: Storage, epoch: int) -> None:
        """Read the ledger; failures before `epoch` do not count, since those rows are retried."""
        self.table = read_ledger(storage)
        places = pa.array(np.arange(len(self.table)))
        index = self.table.select(["id", "state", "epoch"]).append_column("place", places)
        stored = pa.array(committed_ids(storage), pa.string())
        self._done = _places(index, (pc.field("state") == "done") & pc.field("id").isin(stored))
        self._failed = _places(
            index, (pc.field("state") == "failed") & (pc.field("epoch") >= epoch)
        )

    def has_clip(self, request_id: str) -> bool:
        return request_id in self._done

    def unique(self) -> pa.Table:
        """One row an id, of `ledger.SCHEMA`; a clip wins over a failure."""
        failed = [place for name, place in self._failed.items() if name not in self._done]
        places = pa.array([*self._done.values(), *failed], pa.int64())
        return self.table.take(places).select(LEDGER_SCHEMA.names)

    def take(self, rows: list[ResultRow]) -> pa.Table:
        """The outcome of each row, all null where it has none; a clip wins over a failure."""
        done = pa.array([self._done.get(row.id) for row in rows], pa.int64())
        clips = self.table["clip_id"].take(done).to_pylist()
        places = [
            place if place is not None and clip == row.clip_id else self._failed.get(row.id)
            for row, place, clip in zip(rows, done.to_pylist(), clips, strict=True)
        ]
        return self.table.take(pa.array(places, pa.int64()))


def read_outcomes(storage: Storage) -> pa.Table:
    """The outcomes of the whole run: its clips, and what failed in its latest invocation.

    Reads the sidecars that the ledger does not list, as after a run that was killed.

    Raises:
        StorageError: the storage failed.
    """
    outcomes = Outcomes(storage, epoch=next_epoch(storage) - 1)
    unlisted = [name for name in committed_ids(storage) if not outcomes.has_clip(name)]
    records = [sidecar.outcome() for sidecar in read_sidecars(storage, unlisted)]
    late = pa.Table.from_pylist(records, LEDGER_SCHEMA)
    return pa.concat_tables([outcomes.unique(), late])


def _places(index: pa.Table, condition: pc.Expression) -> dict[str, int]:
    """id -> place in the ledger of the last record of each id that meets `condition`."""
    places: dict[str, int] = {}
    for batch in index.filter(condition).to_batches():
        names: list[Any] = batch["id"].to_pylist()
        numbers: list[Any] = batch["place"].to_pylist()
        places.update(zip(names, numbers, strict=True))
    return places


def has_results(storage: Storage) -> bool:
    """Whether any results were written."""
    return storage.exists(part_key(0))


def read_result_states(storage: Storage) -> Iterator[tuple[str, str | None, str, str | None]]:
    """(id, clip_id, state, error_class) of every row of the results, in order.

    Raises:
        StorageError: a part cannot be read.
    """
    names = ["id", "clip_id", "state", "error_class"]
    for batch in _read_parts(storage, names):
        yield from zip(*(batch[name].to_pylist() for name in names), strict=True)


def read_result_failures(storage: Storage) -> Iterator[dict[str, Any]]:
    """The ledger's record of every row that the results call failed, with its time of now.

    Raises:
        StorageError: a part cannot be read.
    """
    names = ["id", "clip_id", "state", "error_class", "error_message", "attempts"]
    for batch in _read_parts(storage, names):
        for row in batch.to_pylist():
            if row["state"] == "failed" and row["error_class"]:
                yield failure_record(
                    row["id"],
                    row["error_class"],
                    row["error_message"] or "",
                    row["attempts"] or 0,
                    row["clip_id"],
                )


def read_result_rows(storage: Storage) -> Iterator[ResultRow]:
    """The rows that the results tell of, with their requests, in order.

    Raises:
        StorageError: a part cannot be read.
    """
    names = ["id", "clip_id", _WHOLE_REQUEST, *(field.name for field in _REQUEST_FIELDS)]
    for batch in _read_parts(storage, names):
        for row in batch.to_pylist():
            yield ResultRow(row["id"], row.pop("clip_id"), _request_of(row))


def _request_of(row: dict[str, Any]) -> ClipRequest | None:
    """What a row asked for; of older results, without what has no column of its own."""
    whole = row.pop(_WHOLE_REQUEST, None)
    if whole is not None:
        return ClipRequest.model_validate_json(whole)
    if row["prompt"] is None:
        return None
    return ClipRequest.model_validate({**row, "metadata": json.loads(row["metadata"])})


def _read_parts(storage: Storage, columns: list[str]) -> Iterator[pa.RecordBatch]:
    for key in sorted(storage.list(f"{RESULTS_PREFIX}part-")):
        try:
            file = pq.ParquetFile(io.BytesIO(storage.read(key)))
            yield from file.iter_batches(BATCH_ROWS, columns=columns)
        except pa.ArrowException as error:
            raise StorageError(
                f"{storage.uri}/{key}: got {error}, expected a Parquet file. Fix: delete it and "
                "run the same command again; it is written anew."
            ) from error


@dataclass
class ResultsWriter:
    """Writes all parts and `errors.jsonl`, replacing older ones.

    Memory grows with the number of outcomes, about 0.6 GB a million, not with the prompts.

    Attributes:
        fence: called before every write; raises if we may not write any more.
        counts: how many rows of which state were written.
        digests: key -> SHA-256 of every file written.
    """

    storage: Storage
    outcomes: Outcomes
    fence: Callable[[], None] = lambda: None
    counts: RunCounts = field(default_factory=RunCounts)
    digests: dict[str, str] = field(default_factory=dict)

    def write(self, rows: Iterable[ResultRow]) -> RunCounts:
        """Write what became of `rows`, in their order.

        Raises:
            StorageError: the storage failed.
        """
        parts = 0
        with temporary_folder() as folder:
            errors_path = folder / ERRORS_KEY
            with errors_path.open("w", encoding="utf-8") as errors:
                rows = iter(rows)
                while (first := next(rows, None)) is not None:
                    part = _with_first(first, islice(rows, PART_ROWS - 1))
                    self._write_part(part_key(parts), part, errors)
                    parts += 1
            self._put(ERRORS_KEY, errors_path)
        self._delete_parts_from(parts)
        return self.counts

    def _write_part(self, key: str, rows: Iterator[ResultRow], errors: IO[str]) -> None:
        data = io.BytesIO()
        with pq.ParquetWriter(data, SCHEMA, compression="zstd") as writer:
            while batch := list(islice(rows, BATCH_ROWS)):
                table = results_table(batch, self.outcomes)
                writer.write_table(table)
                self.counts = _add(self.counts, table)
                _write_errors(errors, batch, table)
        self._put(key, data.getvalue())

    def _put(self, key: str, data: bytes | Path) -> None:
        content = data.read_bytes() if isinstance(data, Path) else data
        self.digests[key] = hashlib.sha256(content).hexdigest()
        self.fence()
        self.storage.put(key, data)

    def _delete_parts_from(self, number: int) -> None:
        for key in list(self.storage.list(f"{RESULTS_PREFIX}part-")):
            if key >= part_key(number):
                self.fence()
                self.storage.delete(key)


def part_key(number: int) -> str:
    return f"{RESULTS_PREFIX}part-{number:05d}.parquet"


def _with_first(first: ResultRow, others: Iterator[ResultRow]) -> Iterator[ResultRow]:
    yield first
    yield from others


def results_table(rows: list[ResultRow], outcomes: Outcomes) -> pa.Table:
    """`rows` and what became of them, as a table of `SCHEMA`."""
    found = outcomes.take(rows)
    names = [row.id for row in rows]
    states = [state or "pending" for state in found["state"].to_pylist()]
    keys = [
        (key or clip_key(name)) if state == "done" else None
        for name, state, key in zip(names, states, found["key"].to_pylist(), strict=True)
    ]
    columns = {
        "id": names,
        "state": states,
        "clip_id": [row.clip_id for row in rows],
        "key": keys,
        **_request_columns(rows),
        **{f.name: found[f.name].combine_chunks() for f in _OUTCOME_FIELDS},
    }
    return pa.table({name: columns[name] for name in SCHEMA.names}, schema=SCHEMA)


def _request_columns(rows: list[ResultRow]) -> dict[str, list[Any]]:
    asked = [{} if row.request is None else row.request.__dict__ for row in rows]
    columns = {
        field.name: [values.get(field.name) for values in asked] for field in _REQUEST_FIELDS
    }
    columns["metadata"] = [_as_json(values) for values in columns["metadata"]]
    columns[_WHOLE_REQUEST] = [row.request and row.request.model_dump_json() for row in rows]
    return columns


def _as_json(values: Any) -> str | None:
    return None if values is None else json.dumps(values, ensure_ascii=False, default=str)


def _add(counts: RunCounts, table: pa.Table) -> RunCounts:
    states = table["state"].to_pylist()
    return RunCounts(
        rows=counts.rows + len(states),
        done=counts.done + states.count("done"),
        failed=counts.failed + states.count("failed"),
        pending=counts.pending + states.count("pending"),
    )


def _write_errors(errors: IO[str], rows: list[ResultRow], table: pa.Table) -> None:
    names = ("state", "error_class", "error_message", "attempts")
    columns = [table[name].to_pylist() for name in names]
    for row, state, error_class, message, attempts in zip(rows, *columns, strict=True):
        if state == "failed":
            record = {
                "id": row.id,
                "clip_id": row.clip_id,
                "error_class": error_class,
                "error_message": message,
                "attempts": attempts,
                "request": row.request and row.request.model_dump(mode="json"),
            }
            errors.write(json.dumps(record, ensure_ascii=False) + "\n")
