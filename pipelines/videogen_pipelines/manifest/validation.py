"""The two passes over a manifest: validate all of it before any compute, then stream requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from videogen.errors import InvalidRequestError
from videogen.requests import ClipRequest, SamplingDefaults
from videogen_pipelines.manifest.columns import Columns, ExtraColumns
from videogen_pipelines.manifest.identity import Identities
from videogen_pipelines.manifest.media import MediaPlace
from videogen_pipelines.manifest.problems import ManifestError, RowError, file_error
from videogen_pipelines.manifest.readers import read_rows
from videogen_pipelines.manifest.rows import CheckRequest, ResolvedRow, RowResolver
from videogen_pipelines.manifest.sources import Format, Source, find_source

MAX_ERRORS_KEPT = 50


@dataclass(frozen=True)
class ManifestOptions:
    """How to read a manifest.

    Args:
        columns: field -> column, for columns named otherwise.
        extra_columns: columns that are no field are an "error", carried along in "metadata", or
            "ignore"d.
        num_samples: clips per row, ids `<id>-s0`, `<id>-s1`, …; None is one clip called `<id>`.
        limit: read that many rows and no more.
        format: of the file; "auto" goes by its extension.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    extra_columns: ExtraColumns = "error"
    num_samples: int | None = None
    limit: int | None = None
    format: Literal["auto"] | Format = "auto"

    def __post_init__(self) -> None:
        for name in ("num_samples", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidRequestError(f"{name}: got {value}, expected an integer of at least 1")


class InvalidRow(NamedTuple):
    """A clip that cannot be made: of row `row`, for `reason`.

    `id` is the row's own where it is usable and unique, else `row-<n>=bad`; no other clip has it.
    """

    id: str
    row: int
    reason: str


@dataclass(frozen=True)
class ManifestReport:
    """What the validation pass found.

    `digest` is the SHA-256 of the file's bytes, `num_clips` counts the clips of good rows,
    `errors` are the first mistakes of `num_bad_rows` bad rows.
    """

    path: str
    digest: str
    num_rows: int
    num_clips: int
    num_bad_rows: int
    errors: tuple[RowError, ...]

    def raise_if_bad(self) -> None:
        """Raise unless every row is good.

        Raises:
            ManifestError: lists `errors` and how many more rows are bad.
        """
        if self.num_bad_rows:
            raise ManifestError(self.errors, self.num_bad_rows)


def validate_manifest(
    path: str | Path,
    defaults: SamplingDefaults,
    check_request: CheckRequest | None = None,
    options: ManifestOptions | None = None,
    *,
    max_errors: int = MAX_ERRORS_KEPT,
    on_row: Callable[[ResolvedRow], None] | None = None,
) -> ManifestReport:
    """Check every row of a manifest, keeping none of them.

    Args:
        defaults: values of the fields a row leaves out: the model's, then the configuration's.
        check_request: raises `InvalidRequestError` for a request that the model cannot make.
        max_errors: keep that many mistakes; all bad rows are counted.
        on_row: told of every row, good or bad.

    Raises:
        ManifestError: the file as a whole cannot be read (missing, truncated, no header, no row).
    """
    options = options or ManifestOptions()
    source = find_source(path, options.format, anew=True)
    num_rows = num_clips = num_bad_rows = 0
    errors: list[RowError] = []
    place = MediaPlace.beside(source.name)
    for row in _resolve(source, defaults, check_request, options, place):
        num_rows += 1
        num_clips += len(row.requests)
        num_bad_rows += bool(row.problems)
        if on_row is not None:
            on_row(row)
        errors += _errors(source, row)[: max_errors - len(errors)] if row.problems else []
    return ManifestReport(
        source.name, source.digest(), num_rows, num_clips, num_bad_rows, tuple(errors)
    )


def iter_requests(
    path: str | Path,
    defaults: SamplingDefaults,
    check_request: CheckRequest | None = None,
    options: ManifestOptions | None = None,
    *,
    bad_rows: Literal["fail", "skip"] = "fail",
    digest: str | None = None,
    as_written: bool = False,
) -> Iterator[ClipRequest | InvalidRow]:
    """Stream the clips a manifest asks for, in its order; takes the arguments of the first pass.

    Args:
        bad_rows: "fail" raises at a bad row; "skip" yields an `InvalidRow` for each of its clips.
        digest: what the first pass found; the file must not have changed since.
        as_written: call images and videos as the rows do, and look at none of them.

    Raises:
        ManifestError: a bad row under "fail", a changed file, or an unreadable one.
    """
    options = options or ManifestOptions()
    source = find_source(path, options.format)
    if digest is not None and source.digest() != digest:
        raise file_error(
            source.name,
            "another content than when it was checked",
            "a manifest that stays as it is during a run",
            "start the run again",
        )
    place = None if as_written else MediaPlace.beside(source.name)
    for row in _resolve(source, defaults, check_request, options, place):
        if row.problems and bad_rows == "fail":
            raise ManifestError(_errors(source, row), num_bad_rows=1)
        reason = "; ".join(str(problem).removesuffix(".") for problem in row.problems)
        yield from row.requests or (InvalidRow(name, row.raw.number, reason) for name in row.ids)


def _resolve(
    source: Source,
    defaults: SamplingDefaults,
    check_request: CheckRequest | None,
    options: ManifestOptions,
    place: MediaPlace | None,
) -> Iterator[ResolvedRow]:
    columns = Columns(options.columns, options.extra_columns)
    resolver = RowResolver(
        columns,
        Identities(options.num_samples, "line" if source.format in ("jsonl", "text") else "row"),
        defaults,
        check_request=check_request,
        cells_are_text=source.format == "csv",
        place=place,
    )
    rows = read_rows(source, lambda names: columns.check_header(source.name, names))
    empty = True
    for raw in islice(rows, options.limit):
        empty = False
        yield resolver.resolve(raw)
    if empty:
        raise file_error(source.name, "no rows", "at least one prompt", "add one")


def _errors(source: Source, row: ResolvedRow) -> list[RowError]:
    return [
        RowError.of(source.name, row.raw.number, row.raw.where, problem) for problem in row.problems
    ]
