"""What a run is asked for: the rows of a manifest, or prompts from the command line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from videogen.requests import ClipRequest, SamplingDefaults
from videogen_pipelines.manifest import (
    InvalidRow,
    ManifestError,
    ManifestOptions,
    ManifestReport,
    RowError,
    iter_requests,
    validate_manifest,
)
from videogen_pipelines.manifest.columns import Columns
from videogen_pipelines.manifest.identity import Identities
from videogen_pipelines.manifest.media import MediaPlace
from videogen_pipelines.manifest.readers import RawRow
from videogen_pipelines.manifest.rows import CheckRequest, ResolvedRow, RowResolver

BadRows = Literal["fail", "skip"]
OnRow = Callable[[ResolvedRow], None]
PROMPTS_URI = "--prompt"


class Inputs(Protocol):
    """A first pass that checks everything, then as many passes over the requests as needed."""

    def check(self, on_row: OnRow | None = None) -> ManifestReport:
        """Check all rows and keep none of them; `on_row` is told of each."""
        ...

    def requests(self, report: ManifestReport) -> Iterator[ClipRequest | InvalidRow]:
        """The clips in order; bad rows as `InvalidRow` if they are to be skipped."""
        ...

    def recipe(self) -> dict[str, Any]:
        """JSON types that say how to read the same rows again; see `recorded.inputs_of`."""
        ...


@dataclass(frozen=True)
class ManifestInputs:
    """The rows of a file; their requests may call images and videos `as_written` there."""

    path: str
    defaults: SamplingDefaults
    check_request: CheckRequest
    options: ManifestOptions = field(default_factory=ManifestOptions)
    bad_rows: BadRows = "fail"
    as_written: bool = False

    def check(self, on_row: OnRow | None = None) -> ManifestReport:
        report = validate_manifest(
            self.path, self.defaults, self.check_request, self.options, on_row=on_row
        )
        if self.bad_rows == "fail":
            report.raise_if_bad()
        return report

    def requests(self, report: ManifestReport) -> Iterator[ClipRequest | InvalidRow]:
        return iter_requests(
            self.path,
            self.defaults,
            self.check_request,
            self.options,
            bad_rows=self.bad_rows,
            digest=report.digest,
            as_written=self.as_written,
        )

    def recipe(self) -> dict[str, Any]:
        options = {**asdict(self.options), "columns": dict(self.options.columns)}
        is_address = "://" in self.path
        path = self.path if is_address else str(Path(self.path).expanduser().absolute())
        return {"kind": "manifest", "path": path, "options": options, "bad_rows": self.bad_rows}


@dataclass(frozen=True)
class PromptInputs:
    """Prompts, each a row that says nothing else but, if given, the seed and `fields`."""

    prompts: Sequence[str]
    defaults: SamplingDefaults
    check_request: CheckRequest
    seed: int | None = None
    num_samples: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    """What else every row says, such as `image`; relative paths start at `folder`."""
    folder: str = "."

    def check(self, on_row: OnRow | None = None) -> ManifestReport:
        rows = self._resolve()
        if on_row is not None:
            for row in rows:
                on_row(row)
        errors = [
            RowError.of(PROMPTS_URI, row.raw.number, row.raw.where, problem)
            for row in rows
            for problem in row.problems
        ]
        if errors:
            raise ManifestError(errors, sum(bool(row.problems) for row in rows))
        content = json.dumps(self._rows(), sort_keys=True).encode()
        return ManifestReport(
            path=PROMPTS_URI,
            digest=hashlib.sha256(content).hexdigest(),
            num_rows=len(rows),
            num_clips=sum(len(row.requests) for row in rows),
            num_bad_rows=0,
            errors=(),
        )

    def requests(self, report: ManifestReport) -> Iterator[ClipRequest | InvalidRow]:
        for row in self._resolve():
            yield from row.requests

    def recipe(self) -> dict[str, Any]:
        return {
            "kind": "prompts",
            "prompts": list(self.prompts),
            "seed": self.seed,
            "num_samples": self.num_samples,
            "fields": dict(self.fields),
            "folder": str(Path(self.folder).absolute()),
        }

    def _rows(self) -> list[dict[str, Any]]:
        seed = {} if self.seed is None else {"seed": self.seed}
        return [{"prompt": prompt, **seed, **self.fields} for prompt in self.prompts]

    def _resolve(self) -> list[ResolvedRow]:
        resolver = RowResolver(
            Columns({}, "error"),
            Identities(self.num_samples, "prompt"),
            self.defaults,
            check_request=self.check_request,
            place=MediaPlace(str(Path(self.folder).absolute())),
        )
        return [
            resolver.resolve(RawRow(number, f"prompt {number}", values))
            for number, values in enumerate(self._rows(), start=1)
        ]
