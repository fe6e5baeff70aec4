"""What the types of a request cannot tell of prompts that change and of what a clip starts with."""

from __future__ import annotations

from videogen.config import shown
from videogen.errors import InvalidRequestError
from videogen.requests import ClipRequest, FieldProblem, check_start


def schedule_problems(request: ClipRequest) -> list[FieldProblem]:
    """Prompts that say nothing or come after the end, and fields that exclude each other."""
    problems: list[FieldProblem] = []
    try:
        check_start(request)
    except InvalidRequestError as error:
        problems.append(FieldProblem.parse(str(error)))
    duration_s = request.num_frames / request.fps
    for entry in request.prompts:
        if not entry.prompt.strip():
            found = f"{shown(entry.prompt)} at {entry.at_s:g} s"
            problems.append(FieldProblem("prompts", found, "text"))
        if entry.at_s >= duration_s:
            found = f"{shown(entry.prompt)} at {entry.at_s:g} s"
            expected = f"times before the end of the clip at {duration_s:g} s"
            problems.append(FieldProblem("prompts", found, expected, "make the clip longer"))
    return problems
