"""JSON that names no key of an object twice."""

from __future__ import annotations

import json
from typing import Any

from videogen.requests import FieldProblem

_SYNTAX = "valid JSON"


class JsonError(ValueError):
    """Text is no JSON; `problem` says why."""

    def __init__(self, problem: FieldProblem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise JsonError(FieldProblem(twice, "the key twice", "each key once", "remove one"))
    return values


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def parse_json(text: str) -> Any:
    """Parse one JSON value; NaN and Infinity become floats, for the field's check to refuse.

    Raises:
        JsonError: it is no JSON, or names a key of an object twice.
    """
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        found = f"{error.msg.lower().removesuffix(' at')} at column {error.colno}"
        raise JsonError(FieldProblem("", found, _SYNTAX, _fix(text))) from error
    except RecursionError as error:
        raise JsonError(FieldProblem("", "deeply nested JSON", _SYNTAX, "flatten it")) from error
    except JsonError:
        raise
    except ValueError as error:  # an integer of thousands of digits
        raise JsonError(FieldProblem("", str(error), _SYNTAX, "write it as a string")) from error


def _fix(text: str) -> str:
    start = text.lstrip()[:1]
    if start and start in "[]":
        return "write one object a line, without a list around them"
    if start and start not in "{}":
        return "give a file of plain prompts the extension .txt"
    return "check quotes, commas and braces"
