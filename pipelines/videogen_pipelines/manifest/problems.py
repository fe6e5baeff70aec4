"""What can be wrong with a manifest, as data and as the sentence a person reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from videogen.errors import InvalidRequestError
from videogen.requests import FieldProblem


@dataclass(frozen=True)
class RowError:
    """One mistake in a manifest. `row` is 0 and `where` empty for what concerns the whole file.

    `row` counts data rows from 1; in text and JSONL it is the line number.
    """

    file: str
    row: int
    where: str
    field: str
    value: str
    expected: str
    fix: str = ""

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        return f"{self.file}: {where}{self.problem}"

    @property
    def problem(self) -> FieldProblem:
        return FieldProblem(self.field, self.value, self.expected, self.fix)

    @classmethod
    def of(cls, file: str, row: int, where: str, problem: FieldProblem) -> RowError:
        return cls(file, row, where, problem.field, problem.value, problem.expected, problem.fix)


class ManifestError(InvalidRequestError):
    """A manifest cannot be used as it is.

    Attributes:
        errors: the first mistakes found.
        num_bad_rows: how many rows are bad, including those whose mistakes are not in `errors`.
    """

    def __init__(self, errors: Sequence[RowError], num_bad_rows: int = 0) -> None:
        shown_rows = {error.row for error in errors if error.row}
        lines = [str(error) for error in errors]
        if more := max(0, num_bad_rows - len(shown_rows)):
            lines.append(f"… and {more:,} more bad row{'s' if more > 1 else ''}")
        super().__init__("\n".join(lines))
        self.errors = tuple(errors)
        self.num_bad_rows = num_bad_rows

    def __reduce__(self) -> tuple[type[ManifestError], tuple[tuple[RowError, ...], int]]:
        return type(self), (self.errors, self.num_bad_rows)


def file_error(
    file: str, value: str, expected: str, fix: str = "", field: str = "", where: str = ""
) -> ManifestError:
    """A `ManifestError` about the file as a whole."""
    return ManifestError([RowError(file, 0, where, field, value, expected, fix)])
