"""Manifest files: which format they are in, and their bytes, whether gzipped or not."""

from __future__ import annotations

import difflib
import gzip
import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

from videogen.storage import is_remote
from videogen_pipelines.manifest.downloads import download
from videogen_pipelines.manifest.problems import file_error

Format = Literal["jsonl", "csv", "parquet", "text"]
FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".txt": "text",
}
MAX_LINE_BYTES = 16 * 2**20
_GZIP_MAGIC, _PARQUET_MAGIC, _BOM = b"\x1f\x8b", b"PAR1", b"\xef\xbb\xbf"
_OTHER_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_READ_ERRORS = (EOFError, zlib.error, OSError)  # gzip.BadGzipFile is an OSError


@dataclass(frozen=True)
class Source:
    """A manifest file that exists, how to read it, and what messages call it."""

    path: Path
    format: Format
    gzipped: bool
    name: str

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The file's bytes, decompressed."""
        with gzip.open(self.path) if self.gzipped else self.path.open("rb") as stream:
            yield cast(BinaryIO, stream)

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Every line with its number from 1 and its line end, without a byte order mark.

        Raises:
            ManifestError: the bytes cannot be read to the end, or a line is endless.
        """
        number = 0
        try:
            with self.open() as stream:
                while line := stream.readline(MAX_LINE_BYTES):
                    number += 1
                    if len(line) == MAX_LINE_BYTES:
                        raise self._endless_line(number)
                    yield number, line.removeprefix(_BOM) if number == 1 else line
        except _READ_ERRORS as error:
            raise file_error(
                self.name,
                damage(error, f"line {number}"),
                "a complete, readable file",
                "write or copy it again",
            ) from error

    def _endless_line(self, number: int) -> Exception:
        limit = f"lines shorter than {MAX_LINE_BYTES // 2**20} MiB"
        return file_error(self.name, "a longer line", limit, where=f"line {number}")

    def digest(self) -> str:
        """SHA-256 of the file's bytes as they lie on disk, in hex."""
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


def damage(error: BaseException, after: str = "") -> str:
    """What a failed read of a file that is there is called in a message."""
    where = f" after {after}" if after else ""
    return f"damaged data{where} ({' '.join(str(error).split()).rstrip('.')})"


def find_source(
    path: str | Path,
    format: Literal["auto"] | Format = "auto",  # noqa: A002
    *,
    anew: bool = False,
) -> Source:
    """Look at a manifest's name and first bytes.

    Gzip is recognised by its first bytes alone, so a name that lost or kept its `.gz` is no harm.

    Args:
        path: a file, or an `s3://` address, which is downloaded once.
        anew: download it again, to see what changed.

    Raises:
        ManifestError: no such file, no regular file, unreadable, or of an unknown format.
        StorageError: the object store refuses or fails.
    """
    name = str(path)
    kind = _format_of(name) if format == "auto" else format
    if is_remote(path):
        path = download(name, anew)
    else:
        path = Path(path)
        _check_is_file(path)
    if kind is None:
        raise _unknown_format(name)
    try:
        with path.open("rb") as stream:
            source = Source(path, kind, stream.read(2) == _GZIP_MAGIC, name)
        with source.open() as stream:
            _check_start(source, stream.read(4))
    except _READ_ERRORS as error:
        reason = getattr(error, "strerror", None) or damage(error)
        raise file_error(name, reason, "a readable file", "write or copy it again") from error
    return source


def _extension(name: str) -> str:
    return Path(Path(name).name.lower().removesuffix(".gz")).suffix


def _format_of(name: str) -> Format | None:
    return FORMATS.get(_extension(name))


def _unknown_format(name: str) -> Exception:
    return file_error(
        name,
        f"the extension '{_extension(name)}'",
        f"one of {', '.join(FORMATS)}, each with or without .gz",
        "rename the file, or name its format with --format",
    )


def _check_is_file(path: Path) -> None:
    if path.is_file():
        return
    if path.is_dir():
        raise file_error(str(path), "a folder", "a file", "name a manifest inside it")
    if path.exists():
        raise file_error(
            str(path), "a pipe or device", "a regular file, which is read twice", "save it first"
        )
    siblings = [sibling.name for sibling in path.parent.glob("*")]
    close = difflib.get_close_matches(path.name, siblings, n=1)
    hint = f"did you mean '{path.parent / close[0]}'?" if close else "check the path"
    raise file_error(str(path), "no such file", "a manifest", hint)


def _check_start(source: Source, start: bytes) -> None:
    is_parquet = start == _PARQUET_MAGIC
    if source.format == "parquet" and not is_parquet:
        raise file_error(
            source.name,
            f"a file that starts with {start!r}" if start else "an empty file",
            "Parquet, which starts with b'PAR1'",
            "write it again, or name its format with --format",
        )
    if source.format != "parquet" and is_parquet:
        raise file_error(
            source.name, "a Parquet file", f"{source.format}", "rename it to end in .parquet"
        )
    encoding = _OTHER_ENCODINGS.get(start[:2])
    if source.format != "parquet" and encoding:
        raise file_error(
            source.name, f"{encoding} text", "UTF-8 text", "save it as UTF-8 (iconv -t UTF-8)"
        )
