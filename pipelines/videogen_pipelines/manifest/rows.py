"""A row as written becomes the clips it asks for, or a list of what is wrong with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from videogen.config import shown
from videogen.errors import InvalidRequestError
from videogen.requests import (
    MISSING,
    ClipRequest,
    FieldProblem,
    SamplingDefaults,
    find_problems,
)
from videogen.seeds import seed_from_id
from videogen_pipelines.manifest.columns import Columns
from videogen_pipelines.manifest.identity import Identities, sample_seed
from videogen_pipelines.manifest.readers import RawRow
from videogen_pipelines.manifest.values import from_cell, plain_metadata

CheckSize = Callable[[int, int, int], object]
MAX_REMEMBERED_SIZES = 4096


class ResolvedRow(NamedTuple):
    """A row and its clips: `requests` of a good one, `problems` of a bad one.

    `ids` are the names of its clips, good or bad, used by no other row.
    """

    raw: RawRow
    ids: list[str]
    requests: list[ClipRequest]
    problems: list[FieldProblem]


class RowResolver:
    """Resolves the rows of one manifest in order.

    Args:
        defaults: values of the fields a row leaves out.
        check_size: raises `InvalidRequestError` for a (num_frames, height, width) that the model
            cannot make.
        cells_are_text: rows come from a CSV, whose cells are read by the type of their field.
    """

    def __init__(
        self,
        columns: Columns,
        identities: Identities,
        defaults: SamplingDefaults,
        *,
        check_size: CheckSize | None = None,
        cells_are_text: bool = False,
    ) -> None:
        self._columns = columns
        self._identities = identities
        self._defaults = defaults.model_dump(exclude_none=True)
        self._check_size = check_size
        self._cells_are_text = cells_are_text
        self._size_problems: dict[tuple[int, int, int], FieldProblem | None] = {}

    def resolve(self, raw: RawRow) -> ResolvedRow:
        """The clips `raw` asks for, or what is wrong with it."""
        if raw.problem is not None:
            return self._bad(raw, None, [raw.problem])
        fields, problems = self._fields(raw.values)
        has_id = "id" in fields
        id_problem = self._identities.given(fields["id"], raw.number) if has_id else None
        if id_problem is not None:
            problems.insert(0, id_problem)
            name = "unusable"
        else:
            name = fields["id"] if has_id else self._identities.from_content(fields, raw.number)
        request = self._request(name, fields, problems)
        if request is None or problems:
            return self._bad(raw, name if has_id and id_problem is None else None, problems)
        requests = self._samples(request)
        return ResolvedRow(raw, [request.id for request in requests], requests, [])

    def _fields(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[FieldProblem]]:
        fields, extras = self._columns.split(values)
        if self._cells_are_text:
            fields = {
                name: from_cell(name, value) if isinstance(value, str) else value
                for name, value in fields.items()
            }
        problems = self._columns.place(extras, fields)
        if isinstance(metadata := fields.get("metadata"), dict):
            try:
                fields["metadata"] = plain_metadata(metadata)
            except ValueError as error:
                problems.append(FieldProblem.parse(str(error), "metadata"))
        return fields, problems

    def _request(
        self, name: str, fields: Mapping[str, Any], problems: list[FieldProblem]
    ) -> ClipRequest | None:
        """The request of a row, or None; adds what is wrong with it to `problems`."""
        values = {**self._defaults, **fields, "id": name}
        if "seed" not in fields:
            values["seed"] = seed_from_id(name)
        try:
            request = ClipRequest.model_validate(values)
        except ValidationError as error:
            found = find_problems(error, ClipRequest)
            problems += [p if p.field in fields else self._with_remedy(p) for p in found]
            return None
        if not request.prompt.strip():
            found = shown(request.prompt)
            problems.append(FieldProblem("prompt", found, "text", "write one or remove the row"))
        if problem := self._size_problem(request):
            said = problem.field in fields or not problem.field
            problems.append(problem if said else self._with_remedy(problem))
        return request

    def _with_remedy(self, problem: FieldProblem) -> FieldProblem:
        """Say where a value that the row does not hold could come from."""
        column = self._columns.column_of.get(problem.field, problem.field)
        fix = problem.fix
        if problem.value == MISSING and column != problem.field:
            fix = f"give the row the column '{column}', as --map says"
        elif not fix and problem.field in SamplingDefaults.model_fields:
            fix = f"say it in the row, or set sampling.{problem.field}"
        return dataclasses.replace(problem, fix=fix)

    def _size_problem(self, request: ClipRequest) -> FieldProblem | None:
        if self._check_size is None:
            return None
        size = (request.num_frames, request.height, request.width)
        if size not in self._size_problems:
            if len(self._size_problems) >= MAX_REMEMBERED_SIZES:
                self._size_problems.clear()
            try:
                self._check_size(*size)
                self._size_problems[size] = None
            except InvalidRequestError as error:
                self._size_problems[size] = FieldProblem.parse(str(error))
        return self._size_problems[size]

    def _samples(self, request: ClipRequest) -> list[ClipRequest]:
        ids = self._identities.clips(request.id)
        if ids == [request.id]:
            return [request]
        return [
            request.model_copy(update={"id": name, "seed": sample_seed(request.seed, index)})
            for index, name in enumerate(ids)
        ]

    def _bad(self, raw: RawRow, name: str | None, problems: list[FieldProblem]) -> ResolvedRow:
        name = name or self._identities.stand_in(raw.number)
        return ResolvedRow(raw, self._identities.clips(name), [], problems)
