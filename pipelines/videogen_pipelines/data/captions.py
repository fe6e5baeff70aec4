"""What videos are said to show: in a file beside each, or in one index of them all."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

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
    """Captions of many videos, by their paths below a folder, or by what paths end in."""

    def __init__(self, rows: Iterable[Mapping[str, Any]], where: str) -> None:
        """Take the rows of an index.

        Raises:
            ConfigError: a row names no file or no caption, holds what JSON cannot, or two rows
                name the same file.
        """
        self._where = where
        self._captions: dict[str, Caption] = {}
        for number, row in enumerate(rows, start=1):
            file, caption = _entry(row, f"{where}: row {number}")
            if file in self._captions:
                raise ConfigError(
                    f"{where}: row {number}: got '{file}' a second time, expected a row for each "
                    "file. Fix: leave one of them out."
                )
            self._captions[file] = caption

    def __len__(self) -> int:
        return len(self._captions)

    @classmethod
    def read(cls, uri: str) -> CaptionIndex:
        """Read a CSV, JSONL or Parquet file from a disk or an object store.

        Raises:
            ConfigError: it is of another kind, damaged, not in UTF-8, or a row is incomplete.
            StorageError: it cannot be read.
        """
        suffix = PurePosixPath(uri).suffix.lower()
        if suffix not in _READERS:
            raise ConfigError(
                f"--index: got '{uri}', expected a file that ends in {', '.join(INDEX_SUFFIXES)}."
            )
        storage, key = open_parent(uri if "://" in uri else str(Path(uri).absolute()))
        with local_copy(storage, key) as path:
            try:
                return cls(_READERS[suffix](path), uri)
            except ConfigError:
                raise
            except UnicodeDecodeError as error:
                raise ConfigError(
                    f"{uri}: got text that is no UTF-8 ({error.reason} at byte {error.start} of a "
                    "block), expected UTF-8. Fix: save it again as UTF-8."
                ) from error
            except (csv.Error, ValueError, OSError) as error:  # pyarrow's are among the last two
                raise ConfigError(
                    f"{uri}: got {error}, expected a whole {suffix} file. Fix: write it again."
                ) from error

    def match(self, keys: Iterable[str]) -> dict[str, Caption]:
        """The captions of the videos at `keys`.

        A row counts for the video at its path, with or without its ending; else for the one video
        whose path ends as the row's does, as far as the shorter of them goes.

        Raises:
            ConfigError: a row could be several videos', or a video several rows'.
        """
        places = _Places(keys)
        found = {file: places.of(file) for file in self._captions}
        taken: dict[str, str] = {}
        for file in sorted(found, key=lambda file: not found[file].whole):
            if len(found[file].keys) > 1:
                raise self._ambiguous(f"'{file}', which could be {_listed(found[file].keys)}")
            for key in found[file].keys:
                other = taken.setdefault(key, file)
                if other != file and found[other].whole == found[file].whole:
                    raise self._ambiguous(f"'{other}' and '{file}', which could be '{key}'")
        return {key: self._captions[file] for key, file in taken.items()}

    def _ambiguous(self, what: str) -> ConfigError:
        return ConfigError(
            f"{self._where}: got {what}, expected a row for each video. "
            "Fix: write paths below the folder of the videos."
        )


@dataclass(frozen=True)
class _Meant:
    """The videos that a row could be; `whole` if it says their whole paths."""

    whole: bool
    keys: list[str]


class _Places:
    """Videos by what their paths end in."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = dict.fromkeys(keys)
        self._ending: dict[str, list[str]] = defaultdict(list)
        for key in self._keys:
            for name in {PurePosixPath(key).name, PurePosixPath(key).stem}:
                self._ending[name].append(key)

    def of(self, file: str) -> _Meant:
        if file in self._keys:
            return _Meant(True, [file])
        alike = self._ending.get(PurePosixPath(file).name, [])
        if whole := [key for key in alike if _without_ending(key) == file]:
            return _Meant(True, whole)
        if ".." in PurePosixPath(file).parts:
            return _Meant(False, [])
        return _Meant(False, [key for key in alike if _end_alike(key, file)])


def _end_alike(key: str, file: str) -> bool:
    paths = (key, _without_ending(key))
    return any(path.endswith(f"/{file}") or file.endswith(f"/{path}") for path in paths)


def _without_ending(key: str) -> str:
    return str(PurePosixPath(key).with_suffix(""))


def _listed(keys: list[str]) -> str:
    more = f" and {len(keys) - 2} more" if len(keys) > 2 else ""
    return " or ".join(f"'{key}'" for key in keys[:2]) + more


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
    if None in row:  # csv.DictReader puts there what has no column
        raise ConfigError(
            f"{where}: got more values than the {len(row) - 1} columns, expected as many. "
            "Fix: put double quotes around captions with commas in them."
        )
    name = next((name for name in FILE_COLUMNS if row.get(name)), None)
    if name is None:
        raise ConfigError(
            f"{where}: got {', '.join(map(str, row)) or 'nothing'}, expected a column with the "
            f"video's path, one of {', '.join(FILE_COLUMNS)}."
        )
    rest = {column: value for column, value in row.items() if column != name}
    return str(PurePosixPath(str(row[name]))), _caption(rest, where)


def _caption(said: Mapping[str, Any], where: str) -> Caption:
    name = next((name for name in CAPTION_COLUMNS if isinstance(said.get(name), str)), None)
    if name is None:
        raise ConfigError(
            f"{where}: got {', '.join(map(str, said)) or 'nothing'}, expected a caption, in one of "
            f"{', '.join(CAPTION_COLUMNS)}."
        )
    rest = {
        key: _plain(value, f"{where}: {key}")
        for key, value in said.items()
        if key != name and value is not None
    }
    return Caption(str(said[name]).strip(), rest)


def _plain(value: Any, where: str) -> Any:
    """As JSON types, as descriptions of clips hold them; NaN becomes null, a date its ISO form."""
    try:
        return json.loads(to_json(value, inf_nan_mode="null"))
    except PydanticSerializationError as error:
        raise ConfigError(
            f"{where}: got {type(value).__name__}, which JSON cannot hold, expected text, numbers, "
            "lists or objects. Fix: leave it out."
        ) from error


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
