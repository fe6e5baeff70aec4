"""Where clips lie in a sweep: each row says its point in its metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from videogen_pipelines.report.clips import ReportClip

POINT = "sweep"


def point_of(clip: ReportClip) -> dict[str, Any]:
    """The value of every axis; {} for a clip of no sweep."""
    metadata = clip.request.get("metadata")
    found = metadata.get(POINT) if isinstance(metadata, Mapping) else None
    if not isinstance(found, Mapping):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str | int | float)}


def axes_of(points: Iterable[Mapping[str, Any]]) -> list[str]:
    """The axes that clips lie on, in the order of their first mention."""
    return list(dict.fromkeys(name for point in points for name in point))
