"""The ledger: gzipped JSON lines that index the sidecars, so that a resume need not read them.

It holds nothing that cannot be made again: a lost or torn segment costs reading some sidecars, and
failed rows that it named are simply tried again.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
import re
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.json as pa_json

from videogen.storage import MissingKeyError, Storage

logger = logging.getLogger(__name__)

LEDGER_PREFIX = "ledger/"
MAX_RECORDS = 1000
MAX_AGE_S = 10.0
_READERS = 8  # object stores answer slowly but in parallel
_BATCH = 64  # bounds the segments held at once
_SEGMENT = re.compile(r"ledger/(\d{6,})/(\d{8,})\.jsonl\.gz")

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("clip_id", pa.string()),
        pa.field("state", pa.string()),
        pa.field("key", pa.string()),  # null: clip_key(id)
        pa.field("sha256", pa.string()),
        pa.field("bytes", pa.int64()),
        pa.field("duration_s", pa.float64()),
        pa.field("codec", pa.string()),
        pa.field("attempts", pa.int64()),
        pa.field("denoise_s", pa.float64()),
        pa.field("decode_s", pa.float64()),
        pa.field("encode_s", pa.float64()),
        pa.field("commit_s", pa.float64()),
        pa.field("gpu_s", pa.float64()),
        pa.field("node", pa.string()),
        pa.field("gang", pa.string()),
        pa.field("created_at", pa.float64()),  # seconds since 1970, UTC
        pa.field("warnings", pa.list_(pa.string())),
        pa.field("error_class", pa.string()),
        pa.field("error_message", pa.string()),
    ]
)


def failure_record(
    request_id: str, error_class: str, message: str, attempts: int, clip_id: str | None = None
) -> dict[str, Any]:
    """The record of a row that failed for good, now."""
    return {
        "id": request_id,
        "clip_id": clip_id,
        "state": "failed",
        "attempts": attempts,
        "created_at": time.time(),
        "error_class": error_class,
        "error_message": message,
    }


class LedgerWriter:
    """Buffers records and writes them as create-only segments of one epoch.

    An epoch is one invocation of a run. Should somebody else write to it all the same, neither can
    harm the other: a number that is taken is passed over.
    """

    def __init__(
        self,
        storage: Storage,
        epoch: int,
        max_records: int = MAX_RECORDS,
        max_age_s: float = MAX_AGE_S,
        clock: Callable[[], float] = time.monotonic,
        fence: Callable[[], None] = lambda: None,
    ) -> None:
        """Start with the segment 0 of `epoch`; `fence` raises if we may not write any more."""
        self.storage = storage
        self.epoch = epoch
        self.max_records = max_records
        self.max_age_s = max_age_s
        self._clock = clock
        self._fence = fence
        self._lines: list[bytes] = []
        self._oldest = 0.0
        self._sequence = 0

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record of `SCHEMA`; writes a segment when enough came together.

        Raises:
            StorageError: the segment could not be written; its records stay buffered.
        """
        if not self._lines:
            self._oldest = self._clock()
        self._lines.append(json.dumps(record, ensure_ascii=True, allow_nan=False).encode())
        self.tick()

    def tick(self) -> None:
        """Write the segment if it is full or `max_age_s` old."""
        is_full = len(self._lines) >= self.max_records
        if self._lines and (is_full or self._clock() - self._oldest >= self.max_age_s):
            self.flush()

    def flush(self) -> None:
        """Write what is buffered, if anything.

        Raises:
            StorageError: it could not be written and stays buffered.
        """
        while self._lines:
            lines = self._lines[: self.max_records]
            data = gzip.compress(b"\n".join(lines) + b"\n", compresslevel=6, mtime=0)
            self._fence()
            self._create(data)
            del self._lines[: len(lines)]

    def drop(self) -> int:
        """Forget what is buffered, because somebody else writes now; returns how many records."""
        dropped = len(self._lines)
        self._lines.clear()
        return dropped

    def _create(self, data: bytes) -> None:
        """Store a segment under the next number that is free, or that holds it already."""
        while True:
            key = f"{LEDGER_PREFIX}{self.epoch:06d}/{self._sequence:08d}.jsonl.gz"
            # A flush that failed may have stored its segment all the same; then this is that one.
            is_stored = self.storage.create(key, data) or self._read(key) == data
            self._sequence += 1
            if is_stored:
                return

    def _read(self, key: str) -> bytes | None:
        try:
            return self.storage.read(key)
        except MissingKeyError:
            return None


def next_epoch(storage: Storage) -> int:
    """One more than the highest epoch in the ledger; 1 in a new run directory."""
    return 1 + max((epoch for epoch, _ in _segments(storage)), default=0)


def read_segments(
    storage: Storage,
    columns: list[str] | None = None,
    first_epoch: int = 0,
    on_damaged: Callable[[str, Exception], None] | None = None,
) -> Iterator[pa.Table]:
    """Each readable segment, oldest first, as a table of `columns` of `SCHEMA` and `epoch`.

    Args:
        on_damaged: told the key of each torn or foreign segment, which is skipped; None logs it.
    """
    schema = _schema_of(columns)
    segments = iter(sorted(segment for segment in _segments(storage) if segment[0] >= first_epoch))
    with ThreadPoolExecutor(_READERS) as readers:
        while batch := list(islice(segments, _BATCH)):
            found = readers.map(lambda segment: _read_segment(storage, segment[1], schema), batch)
            for (epoch, key), table in zip(batch, found, strict=True):
                if isinstance(table, pa.Table):
                    yield table.append_column("epoch", pa.array([epoch] * len(table), pa.int32()))
                elif on_damaged:
                    on_damaged(key, table)
                else:
                    logger.warning("%s/%s is damaged and is ignored: %s", storage.uri, key, table)


def _read_segment(storage: Storage, key: str, schema: pa.Schema) -> pa.Table | Exception:
    data = storage.read(key)
    try:
        return _parse(data, schema)
    except (OSError, EOFError, zlib.error, pa.ArrowInvalid) as error:
        return error


def read_ledger(
    storage: Storage, columns: list[str] | None = None, first_epoch: int = 0
) -> pa.Table:
    """All readable segments as one table, oldest record first; see `read_segments`."""
    schema = _schema_of(columns).append(pa.field("epoch", pa.int32()))
    return pa.concat_tables([schema.empty_table(), *read_segments(storage, columns, first_epoch)])


def read_done(storage: Storage) -> dict[str, str]:
    """id -> clip_id of every clip that the ledger says is committed."""
    done: dict[str, str] = {}
    for table in read_segments(storage, ["id", "clip_id", "state"]):
        names, clips, states = (table[name].to_pylist() for name in ("id", "clip_id", "state"))
        done.update(
            (name, clip)
            for name, clip, state in zip(names, clips, states, strict=True)
            if state == "done" and name is not None and clip is not None
        )
    return done


def segment_keys(storage: Storage) -> list[str]:
    """The keys of all segments, oldest first."""
    return [key for _, key in sorted(_segments(storage))]


def _segments(storage: Storage) -> Iterator[tuple[int, str]]:
    for key in storage.list(LEDGER_PREFIX):
        match = _SEGMENT.fullmatch(key)
        if match:
            yield int(match[1]), key


def _schema_of(columns: list[str] | None) -> pa.Schema:
    return pa.schema([SCHEMA.field(name) for name in columns or SCHEMA.names])


def _parse(data: bytes, schema: pa.Schema) -> pa.Table:
    table = pa_json.read_json(
        io.BytesIO(gzip.decompress(data)),
        read_options=pa_json.ReadOptions(use_threads=False, block_size=1 << 24),
        parse_options=pa_json.ParseOptions(
            explicit_schema=schema, unexpected_field_behavior="ignore"
        ),
    ).select(schema.names)
    if any(table[name].null_count for name in ("id", "state") if name in schema.names):
        raise pa.ArrowInvalid("a record names no id or no state")
    return table
