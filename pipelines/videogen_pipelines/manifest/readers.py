"""Rows of a manifest as they are written, one at a time, whatever its format."""

from __future__ import annotations

import csv
import dataclasses
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple, Protocol

from videogen.config import shown
from videogen.requests import FieldProblem
from videogen_pipelines.manifest.problems import file_error
from videogen_pipelines.manifest.sources import Source, damage
from videogen_pipelines.manifest.strict_json import JsonError, parse_json

ROWS_PER_BATCH = 4096
_NOT_UTF8 = FieldProblem("", "", "UTF-8 text", "save the file as UTF-8")


class RawRow(NamedTuple):
    """A row as written. `values` is empty where `problem` says why it could not be read."""

    number: int
    where: str
    values: dict[str, Any]
    problem: FieldProblem | None = None


class HeaderCheck(Protocol):
    """Called once with the columns of a CSV or Parquet file; raises or returns those to read."""

    def __call__(self, names: Sequence[str]) -> Sequence[str]: ...


def read_rows(source: Source, check_header: HeaderCheck) -> Iterator[RawRow]:
    """Stream the rows of a manifest; blank lines are no rows.

    Raises:
        ManifestError: the file as a whole cannot be read, or `check_header` refuses its columns.
    """
    match source.format:
        case "jsonl":
            return _jsonl_rows(source)
        case "text":
            return _text_rows(source)
        case "csv":
            return _csv_rows(source, check_header)
        case "parquet":
            return _parquet_rows(source, check_header)


def _text_rows(source: Source) -> Iterator[RawRow]:
    for number, line in source.lines():
        try:
            if prompt := line.decode().strip():
                yield RawRow(number, f"line {number}", {"prompt": prompt})
        except UnicodeDecodeError as error:
            yield RawRow(number, f"line {number}", {}, _not_utf8(error.object, error.start))


def _jsonl_rows(source: Source) -> Iterator[RawRow]:
    for number, line in source.lines():
        where = f"line {number}"
        try:
            text = line.decode()
            if text.isspace():
                continue
            values = parse_json(text)
        except UnicodeDecodeError as error:
            yield RawRow(number, where, {}, _not_utf8(error.object, error.start))
        except JsonError as error:
            yield RawRow(number, where, {}, error.problem)
        else:
            if isinstance(values, dict):
                yield RawRow(number, where, values)
            else:
                expected = 'one JSON object a line, such as {"prompt": "…"}'
                yield RawRow(number, where, {}, FieldProblem("", shown(values), expected))


def _not_utf8(data: bytes, position: int) -> FieldProblem:
    found = f"byte 0x{data[position]:02x} at position {position + 1}"
    return dataclasses.replace(_NOT_UTF8, value=found)


def _csv_rows(source: Source, check_header: HeaderCheck) -> Iterator[RawRow]:
    # Undecodable bytes become lone surrogates here and are reported with their row below.
    lines = (line.decode(errors="surrogateescape") for _, line in source.lines())
    reader = csv.reader(lines, strict=True)
    header: list[str] | None = None
    number = 0
    while True:
        where = f"row {number + 1} (line {reader.line_num + 1})" if header else "header"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fix = "check the quotes: one that is never closed hides the rows after it"
            raise file_error(source.name, str(error), "CSV", fix, where=where) from error
        if not cells:
            continue
        if header is None:
            header = [name.strip() for name in cells]
            check_header(header)
            continue
        number += 1
        yield _csv_row(number, where, header, cells)


def _csv_row(number: int, where: str, header: list[str], cells: list[str]) -> RawRow:
    if len(cells) != len(header):
        expected = f"{len(header)} values, one for each column of the header"
        fix = "put values that hold a comma in double quotes"
        return RawRow(number, where, {}, FieldProblem("", f"{len(cells)} values", expected, fix))
    for name, cell in zip(header, cells, strict=True):
        if not cell.isascii() and (broken := [c for c in cell if "\udc80" <= c <= "\udcff"]):
            found = f"byte 0x{ord(broken[0]) - 0xDC00:02x}"
            problem = dataclasses.replace(_NOT_UTF8, field=name, value=found)
            return RawRow(number, where, {}, problem)
    said = (cell if cell and not cell.isspace() else None for cell in cells)
    return RawRow(number, where, dict(zip(header, said, strict=True)))


def _parquet_rows(source: Source, check_header: HeaderCheck) -> Iterator[RawRow]:
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with source.open() as stream, _seekable(stream, source.gzipped) as seekable:
            file = parquet.ParquetFile(seekable, pre_buffer=False)
            columns = list(check_header(file.schema_arrow.names))
            for batch in file.iter_batches(ROWS_PER_BATCH, columns=columns):
                for values in batch.to_pylist():
                    number += 1
                    yield RawRow(number, f"row {number}", values)
    except (pyarrow.ArrowException, OSError, EOFError) as error:
        raise file_error(
            source.name,
            damage(error, f"row {number}"),
            "a complete Parquet file",
            "write or copy it again",
        ) from error


def _seekable(stream: BinaryIO, gzipped: bool) -> Any:
    """Parquet starts reading at its end: a gzipped one is unpacked into a temporary file."""
    if not gzipped:
        return stream
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
    shutil.copyfileobj(stream, unpacked)
    unpacked.seek(0)
    return unpacked
