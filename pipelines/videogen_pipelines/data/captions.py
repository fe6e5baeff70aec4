"""What videos are said to show: in a file beside each, or in one index of them all."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from videogen.errors import ConfigError
from videogen.storage import MissingKeyError, Storage, local_copy, open_parent

FILE_COLUMNS = ("file", "path", "video", "filename", "key", "id")
CAPTION_COLUMNS = ("caption", "prompt", "text", "description")
INDEX_SUFFIXES = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Caption:
    """A caption, and what else was said of the video."""

    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


class CaptionIndex:
    """Captions of many videos, found by the path below their folder, its stem, or its name."""

    def __init__(self, rows: Iterable[Mapping[str, Any]], where: str) -> None:
        """Take the rows of an index.

        Raises:
            ConfigError: a row names no file or no caption, or two rows name the same file.
        """
        self._captions: dict[str, Caption] = {}
        for number, row in enumerate(rows, start=1):
            file, caption = _entry(row, f"{where}: row {number}")
            if file in self._captions:
                raise ConfigError(
                    f"{where}: row {number}: got '{file}' a second time, expected a row for each "
                    "file. Fix: leave one of them out."
                )
            self._captions[file] = caption
        names = Counter(PurePosixPath(file).name for file in self._captions)
        self._by_name = {
            PurePosixPath(file).name: file
            for file in self._captions
            if names[PurePosixPath(file).name] == 1
        }

    def __len__(self) -> int:
        return len(self._captions)

    @classmethod
    def read(cls, uri: str) -> CaptionIndex:
        """Read a CSV, JSONL or Parquet file from a disk or an object store.

        Raises:
            ConfigError: it is of another kind, or a row is incomplete.
            StorageError: it cannot be read.
        """
        suffix = PurePosixPath(uri).suffix.lower()
        if suffix not in _READERS:
            raise ConfigError(
                f"--index: got '{uri}', expected a file that ends in {', '.join(INDEX_SUFFIXES)}."
            )
        storage, key = open_parent(uri if "://" in uri else str(Path(uri).absolute()))
        with local_copy(storage, key) as path:
            return cls(_READERS[suffix](path), uri)

    def find(self, key: str) -> Caption | None:
        """The caption of the video at `key`, or None."""
        stem = str(PurePosixPath(key).with_suffix(""))
        name = PurePosixPath(key)
        for known in (key, stem, self._by_name.get(name.name), self._by_name.get(name.stem)):
            if known is not None and known in self._captions:
                return self._captions[known]
        return None


def read_sidecar_caption(storage: Storage, key: str) -> Caption | None:
    """The caption beside the video at `key`: `NAME.txt`, or `NAME.json` with a caption in it.

    Raises:
        ConfigError: the file beside it holds no text.
        StorageError: it cannot be read.
    """
    stem = str(PurePosixPath(key).with_suffix(""))
    if (data := _read(storage, f"{stem}.txt")) is not None:
        return Caption(_decoded(data, f"{stem}.txt").strip())
    if (data := _read(storage, f"{stem}.json")) is None:
        return None
    try:
        said = json.loads(_decoded(data, f"{stem}.json"))
    except ValueError as error:
        raise ConfigError(f"{stem}.json: got {error}, expected JSON with a caption.") from error
    if not isinstance(said, Mapping):
        raise ConfigError(f"{stem}.json: got {type(said).__name__}, expected an object.")
    return _caption(said, f"{stem}.json")


def _read(storage: Storage, key: str) -> bytes | None:
    try:
        return storage.read(key)
    except MissingKeyError:
        return None


def _decoded(data: bytes, key: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{key}: got bytes that are no UTF-8, expected a caption.") from error


def _entry(row: Mapping[str, Any], where: str) -> tuple[str, Caption]:
    name = next((name for name in FILE_COLUMNS if row.get(name)), None)
    if name is None:
        raise ConfigError(
            f"{where}: got {', '.join(map(str, row)) or 'nothing'}, expected a column with the "
            f"video's path, one of {', '.join(FILE_COLUMNS)}."
        )
    rest = {column: value for column, value in row.items() if column != name}
    return str(row[name]).removeprefix("./"), _caption(rest, where)


def _caption(said: Mapping[str, Any], where: str) -> Caption:
    name = next((name for name in CAPTION_COLUMNS if isinstance(said.get(name), str)), None)
    if name is None:
        raise ConfigError(
            f"{where}: got {', '.join(map(str, said)) or 'nothing'}, expected a caption, in one of "
            f"{', '.join(CAPTION_COLUMNS)}."
        )
    rest = {key: value for key, value in said.items() if key != name and value is not None}
    return Caption(str(said[name]).strip(), rest)


def _csv_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file)


def _jsonl_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ConfigError(f"--index: line {number}: got {error}, expected JSON.") from error
            if not isinstance(row, Mapping):
                raise ConfigError(f"--index: line {number}: got no object, expected one a line.")
            yield row


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield from batch.to_pylist()


_READERS = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}
