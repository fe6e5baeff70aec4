"""A row as written becomes the clips it asks for, or a list of what is wrong with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

from pydantic import ValidationError

from videogen.config import shown
from videogen.errors import InvalidRequestError
from videogen.requests import (
    MISSING,
    ClipRequest,
    FieldProblem,
    SamplingDefaults,
    fill,
    find_problems,
    with_first_prompt,
)
from videogen.seeds import seed_from_id
from videogen_pipelines.manifest.columns import Columns
from videogen_pipelines.manifest.durations import in_seconds, resolve_duration
from videogen_pipelines.manifest.identity import Identities, sample_seed
from videogen_pipelines.manifest.media import DIGESTS, KINDS, MediaPlace, resolve_media
from videogen_pipelines.manifest.readers import RawRow
from videogen_pipelines.manifest.schedules import schedule_problems
from videogen_pipelines.manifest.values import from_cell, plain_metadata

CheckRequest = Callable[[ClipRequest], object]
MAX_REMEMBERED_SHAPES = 4096
_FREE = {"id", "prompt", "negative_prompt", "seed", "metadata", "prompts"}
_SHAPE = attrgetter(*(name for name in ClipRequest.model_fields if name not in _FREE))


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
        check_request: raises `InvalidRequestError` for a request that the model cannot make.
        cells_are_text: rows come from a CSV, whose cells are read by the type of their field.
        place: where relative paths of images and videos start; None leaves them as they are.
    """

    def __init__(
        self,
        columns: Columns,
        identities: Identities,
        defaults: SamplingDefaults,
        *,
        check_request: CheckRequest | None = None,
        cells_are_text: bool = False,
        place: MediaPlace | None = None,
    ) -> None:
        self._columns = columns
        self._identities = identities
        self._defaults = defaults.model_dump(exclude_none=True)
        self._check_request = check_request
        self._cells_are_text = cells_are_text
        self._place = place
        self._known: dict[tuple[object, ...], FieldProblem | None] = {}

    def resolve(self, raw: RawRow) -> ResolvedRow:
        """The clips `raw` asks for, or what is wrong with it."""
        if raw.problem is not None:
            return self._bad(raw, None, [raw.problem])
        fields, problems = self._fields(raw.values)
        content = dict(fields)
        if self._place is not None and not fields.keys().isdisjoint(KINDS):
            problems += resolve_media(fields, self._place)
            # Of a row without an id, the path stays as it was written, so that folders can move.
            content |= {name: fields[name] for name in DIGESTS if name in fields}
        has_id = "id" in fields
        id_problem = self._identities.given(fields["id"], raw.number) if has_id else None
        if id_problem is not None:
            problems.insert(0, id_problem)
            name = "unusable"
        else:
            name = fields["id"] if has_id else self._identities.from_content(content, raw.number)
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
        values = fill(self._defaults, {**fields, "id": name})
        if "seed" not in fields:
            values["seed"] = seed_from_id(name)
        if problem := resolve_duration(fields, values):
            problems.append(problem)
        try:
            request = ClipRequest.model_validate(with_first_prompt(values))
        except ValidationError as error:
            found = find_problems(error, ClipRequest)
            problems += [p if p.field in fields else self._with_remedy(p) for p in found]
            return None
        if not request.prompt.strip():
            found = shown(request.prompt)
            problems.append(FieldProblem("prompt", found, "text", "write one or remove the row"))
        problems += schedule_problems(request)
        if problem := self._misfit(request):
            problem = in_seconds(problem, fields, request.num_frames)
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

    def _misfit(self, request: ClipRequest) -> FieldProblem | None:
        """Why the model cannot make a clip of that shape, or None."""
        if self._check_request is None:
            return None
        # Whether there is a prompt to avoid, and several to show, may matter; which ones may not.
        shape = (*_SHAPE(request), bool(request.negative_prompt), bool(request.prompts))
        if shape not in self._known:
            if len(self._known) >= MAX_REMEMBERED_SHAPES:
                self._known.clear()
            try:
                self._check_request(request)
                self._known[shape] = None
            except InvalidRequestError as error:
                self._known[shape] = FieldProblem.parse(str(error))
        return self._known[shape]

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
