"""Which column of a manifest is which field of a request, and where the other columns go."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from videogen.config import shown
from videogen.errors import ConfigError
from videogen.registry import did_you_mean
from videogen.requests import MISSING, UNKNOWN, ClipRequest, FieldProblem
from videogen_pipelines.manifest.problems import ManifestError, RowError

FIELDS: tuple[str, ...] = (*ClipRequest.model_fields, "duration_s")
_CARRY_ALONG = "carry it along: --extra-columns metadata"
ExtraColumns = Literal["error", "metadata", "ignore"]


def parse_column_map(entries: Sequence[str]) -> dict[str, str]:
    """Parse `--map` entries "field=column" into {field: column}.

    Raises:
        ConfigError: an entry is malformed, names no field of a request, or names one twice.
    """
    columns: dict[str, str] = {}
    for entry in entries:
        name, equals, column = (part.strip() for part in entry.partition("="))
        if not equals or not name or not column:
            raise ConfigError(
                f"--map: got {shown(entry)}, expected field=column. "
                "Fix: for example --map prompt=prompt_en."
            )
        if name not in FIELDS:
            raise ConfigError(
                f"--map {entry}: got the field '{name}', {did_you_mean(name, list(FIELDS))}"
            )
        if name in columns:
            raise ConfigError(
                f"--map {entry}: got '{name}' again, expected each field once; "
                f"it is read from '{columns[name]}' already. Fix: remove one."
            )
        columns[name] = column
    return columns


class Columns:
    """Turns the columns of a row into fields of a request.

    Args:
        mapped: field -> column, for columns that do not have the field's name.
        extra: what happens to columns that are no field: "error", carried along in "metadata"
            under their own name, or "ignore".
    """

    def __init__(self, mapped: Mapping[str, str], extra: ExtraColumns) -> None:
        self.extra = extra
        self.column_of = {name: mapped.get(name, name) for name in FIELDS}
        self._fields_of: dict[str, list[str]] = {}
        for name, column in self.column_of.items():
            self._fields_of.setdefault(column, []).append(name)

    def check_header(self, file: str, names: Sequence[str]) -> list[str]:
        """Return the columns to read of those a CSV or Parquet file has.

        Raises:
            ManifestError: a column is there twice, has no name, is missing or is unknown.
        """
        problems = [
            FieldProblem(
                name or "''", f"{names.count(name)} columns of that name", "one", "rename them"
            )
            for name in dict.fromkeys(names)
            if names.count(name) > 1
        ]
        problems += self._missing_columns(names)
        extras = [name for name in names if name not in self._fields_of]
        if self.extra == "error" and not problems:
            problems += [self._unknown(name) for name in extras]
        if problems:
            raise ManifestError([RowError.of(file, 0, "header", problem) for problem in problems])
        return [name for name in names if self.extra != "ignore" or name not in extras]

    def split(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a row says, None being "not said": values of fields, and of other columns."""
        fields: dict[str, Any] = {}
        extras: dict[str, Any] = {}
        for column, value in values.items():
            if value is None:
                continue
            names = self._fields_of.get(column)
            if names is None:
                extras[column] = value
            else:
                fields.update(dict.fromkeys(names, value))
        return fields, extras

    def place(self, extras: Mapping[str, Any], fields: dict[str, Any]) -> list[FieldProblem]:
        """Put values of other columns where they belong in `fields`, or say why they do not."""
        if self.extra == "ignore":
            return []
        if self.extra == "error":
            return [self._unknown(column) for column in extras]
        metadata = fields.get("metadata", {})
        if not extras or not isinstance(metadata, dict):  # the latter is reported as what it is
            return []
        fields["metadata"] = {**metadata, **extras}
        found, expected = "a column and a key of metadata", "one of the two"
        return [
            FieldProblem(f"metadata.{column}", found, expected, "rename one")
            for column in extras
            if column in metadata
        ]

    def _missing_columns(self, names: Sequence[str]) -> list[FieldProblem]:
        schedule = self.column_of["prompts"]
        needed = {} if schedule in names else {"prompt": self.column_of["prompt"]}
        needed |= {name: column for name, column in self.column_of.items() if name != column}
        return [
            FieldProblem(
                name,
                MISSING,
                f"a column '{column}'; the columns are {shown(', '.join(names))}",
                self._missing_fix(column, names),
            )
            for name, column in needed.items()
            if column not in names
        ]

    def _missing_fix(self, column: str, names: Sequence[str]) -> str:
        if len(names) == 1 and any(mark in names[0] for mark in ";\t"):
            return "separate the columns by commas"
        if close := difflib.get_close_matches(column, names, n=1):
            return f"--map {self._fields_of[column][0]}={close[0]}"
        return "name the columns in the first line, or say which one it is: --map prompt=COLUMN"

    def _unknown(self, column: str) -> FieldProblem:
        if column in FIELDS:
            used = self.column_of[column]
            expected = f"only '{used}', which --map names"
            return FieldProblem(column, "a second column for the field", expected, _CARRY_ALONG)
        close = difflib.get_close_matches(column, list(self._fields_of), n=1)
        hint = f". Did you mean '{close[0]}'?" if close else ""
        return FieldProblem(
            column,
            UNKNOWN,
            f"one of {', '.join(self._fields_of)}{hint}",
            f"rename it (--map FIELD=COLUMN), or {_CARRY_ALONG}",
        )
