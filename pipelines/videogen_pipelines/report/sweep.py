"""Where clips lie in a sweep: each row says its point in its metadata."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from videogen_pipelines.evaluation.sweep import SWEEP
from videogen_pipelines.report.clips import ReportClip

ROW = "row"


def point_of(clip: ReportClip) -> dict[str, str]:
    """The value of every axis; {} for a clip of no sweep."""
    return {name: written(value) for name, value in _said(clip).items() if name != ROW}


def row_of(clip: ReportClip) -> str | None:
    """The row of the manifest that the clip is a point of; None for a clip of no sweep."""
    name = _said(clip).get(ROW)
    return None if name is None else str(name)


def axes_of(points: Iterable[Mapping[str, Any]]) -> list[str]:
    """The axes that clips lie on, in the order of their first mention."""
    return list(dict.fromkeys(name for point in points for name in point))


def _said(clip: ReportClip) -> Mapping[str, Any]:
    metadata = clip.request.get("metadata")
    found = metadata.get(SWEEP) if isinstance(metadata, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def written(value: Any) -> str:
    """As people write it: 3.0 is "3"."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)
