"""Sweeps: every row of a manifest at every point of a grid of settings, as one run."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from videogen.config import parse_yaml, shown
from videogen.errors import ConfigError, InvalidRequestError
from videogen.registry import did_you_mean
from videogen.requests import ClipRequest, SamplingDefaults, find_problems
from videogen_pipelines.inputs import Inputs, OnRow
from videogen_pipelines.manifest import InvalidRow, ManifestReport
from videogen_pipelines.manifest.rows import CheckRequest, ResolvedRow

SWEEP = "sweep"
"""Where a row's metadata says its grid point: {"row": id, field: value, …}."""
MAX_POINTS = 1000
_LONGEST_ID = 128
_SAFE = re.compile(r"[A-Za-z0-9._-]{1,24}")

Grid = Mapping[str, Sequence[Any]]


def parse_grid(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Read "guidance_scale=1,3,5" and the like; a YAML list says values that hold commas.

    Raises:
        ConfigError: a field is none that a grid can have, twice there, or a value is wrong.
    """
    grid: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        name = name.strip()
        if not equals or not rest.strip():
            raise ConfigError(f"--grid: got {shown(text)}, expected field=value,value,…")
        fields = [field for field in SamplingDefaults.model_fields if field != "flow_shifts"]
        if name not in fields:
            known = did_you_mean(name, fields)
            raise ConfigError(f"--grid: got '{name}', {known}")
        if name in grid:
            raise ConfigError(f"--grid: got '{name}' twice, expected it once with all its values.")
        grid[name] = _values(name, rest.strip())
    count = num_points(grid)
    if count > MAX_POINTS:
        raise ConfigError(
            f"--grid: got {count:,} points, expected at most {MAX_POINTS}. Fix: fewer values."
        )
    return grid


def grid_of(recorded: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """The grid that a run's record says.

    Raises:
        ConfigError: it is not one of this version.
    """
    return {name: _checked(name, values) for name, values in recorded.items()}


def num_points(grid: Grid) -> int:
    """Points of a grid: the product of the numbers of values."""
    count = 1
    for values in grid.values():
        count *= len(values)
    return count


def points_of(grid: Grid) -> list[dict[str, Any]]:
    """Every combination of values, the last field changing fastest."""
    names = list(grid)
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*grid.values())]


def request_at(request: ClipRequest, point: Mapping[str, Any]) -> ClipRequest:
    """A row's request at a grid point: same prompt and seed, a name and metadata of its own.

    Raises:
        InvalidRequestError: the model of a request refuses the combination.
    """
    if SWEEP in request.metadata:
        raise InvalidRequestError(
            f"{request.id}: got metadata that says '{SWEEP}', expected that name to be free, "
            "because a sweep writes it. Fix: rename it."
        )
    values = {name: getattr(request, name) for name in ClipRequest.model_fields}
    said = {"row": request.id, **point}
    values |= {
        **point,
        "id": id_at(request.id, point),
        "metadata": {**request.metadata, SWEEP: said},
    }
    try:
        return ClipRequest.model_validate(values)
    except ValidationError as error:
        problem = find_problems(error, ClipRequest)[0]
        raise InvalidRequestError(f"{values['id']}: {problem}") from error


def id_at(name: str, point: Mapping[str, Any]) -> str:
    """The id of row `name` at a grid point, such as `clip-1.guidance_scale-3.sampler-ddim`."""
    full = ".".join([name, *(f"{field}-{_label(point[field])}" for field in point)])
    if len(full) <= _LONGEST_ID:
        return full
    digest = hashlib.blake2b(full.encode(), digest_size=6).hexdigest()
    return f"{name[: _LONGEST_ID - 13]}.{digest}"


@dataclass(frozen=True)
class SweepInputs:
    """Other inputs at every point of a grid."""

    inner: Inputs
    grid: Grid
    check_request: CheckRequest

    def check(self, on_row: OnRow | None = None) -> ManifestReport:
        """As `Inputs.check`; a clip that a grid point makes impossible is a bad input.

        Raises:
            InvalidRequestError: a row cannot be made at a grid point.
        """

        def tell(row: ResolvedRow) -> None:
            requests = [made for request in row.requests for made in self._at_all(request)]
            for request in requests:
                self._check(request)
            if on_row is not None:
                names = [request.id for request in requests] or row.ids
                on_row(row._replace(ids=names, requests=requests))

        report = self.inner.check(tell)
        return replace(report, num_clips=report.num_clips * num_points(self.grid))

    def requests(self, report: ManifestReport) -> Iterator[ClipRequest | InvalidRow]:
        for request in self.inner.requests(report):
            if isinstance(request, InvalidRow):
                yield request
            else:
                yield from self._at_all(request)

    def recipe(self) -> dict[str, Any]:
        grid = {name: list(values) for name, values in self.grid.items()}
        return {
            "kind": "sweep",
            "grid": json.loads(json.dumps(grid)),
            "inputs": self.inner.recipe(),
        }

    def _at_all(self, request: ClipRequest) -> list[ClipRequest]:
        return [request_at(request, point) for point in points_of(self.grid)]

    def _check(self, request: ClipRequest) -> None:
        try:
            self.check_request(request)
        except InvalidRequestError as error:
            raise InvalidRequestError(f"{request.id}: {error}") from error


def _values(name: str, text: str) -> list[Any]:
    if text.startswith("["):
        found = parse_yaml(text, f"--grid {name}")
        return _checked(name, found if isinstance(found, list) else [found])
    return _checked(name, [parse_yaml(part, f"--grid {name}") for part in text.split(",")])


def _checked(name: str, raw: Sequence[Any]) -> list[Any]:
    values: list[Any] = []
    for each in raw:
        try:
            value = getattr(SamplingDefaults.model_validate({name: each}), name)
        except ValidationError as error:
            raise ConfigError(f"--grid {find_problems(error, SamplingDefaults)[0]}") from error
        if value is None or value in values:
            raise ConfigError(f"--grid {name}: got {shown(each)}, expected values, each once.")
        values.append(value)
    return values


def _label(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    if _SAFE.fullmatch(text):
        return text
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
