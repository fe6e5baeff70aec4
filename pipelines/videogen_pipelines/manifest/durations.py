"""`duration_s`, how long a clip is meant to be, becomes the number of its frames."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, TypeGuard

from videogen.config import shown
from videogen.requests import MAX_FRAMES, FieldProblem

FIELD = "duration_s"


def frames_of(duration_s: float, fps: float) -> int:
    """The number of frames nearest to `duration_s` seconds, and one at least."""
    return max(1, math.floor(duration_s * fps + 0.5))


def resolve_duration(row: Mapping[str, Any], values: dict[str, Any]) -> FieldProblem | None:
    """Replace `duration_s` by `num_frames`, or say what is wrong with it.

    Args:
        row: what the row says.
        values: what holds for it, defaults included; changed here.
    """
    if FIELD not in row:
        return None
    duration_s, fps = values.pop(FIELD), values.get("fps")
    if "num_frames" in row:
        found = f"{shown(duration_s)}, and num_frames {shown(row['num_frames'])}"
        return FieldProblem(FIELD, found, "one of the two", "leave one out")
    if not _is_positive(duration_s):
        return FieldProblem(FIELD, shown(duration_s), "a finite number of seconds above 0")
    if not _is_positive(fps):
        return None  # reported as what it is
    if duration_s * fps > MAX_FRAMES:
        return FieldProblem(
            FIELD, shown(duration_s), f"at most {MAX_FRAMES / fps:g} s at {fps:g} frames a second"
        )
    values["num_frames"] = frames_of(duration_s, fps)
    return None


def in_seconds(problem: FieldProblem, row: Mapping[str, Any], num_frames: int) -> FieldProblem:
    """A problem with the number of frames, said of the duration if that is what the row says."""
    if FIELD not in row or problem.field != "num_frames":
        return problem
    return dataclasses.replace(
        problem, field=FIELD, value=f"{shown(row[FIELD])}, which is {num_frames} frames"
    )


def _is_positive(value: Any) -> TypeGuard[int | float]:
    return type(value) in (int, float) and math.isfinite(value) and value > 0
