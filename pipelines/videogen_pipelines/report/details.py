"""What the page of one clip shows beyond its row in the table."""

from __future__ import annotations

from typing import Any

from videogen.storage import MissingKeyError, Storage
from videogen_pipelines.keys import tries_key
from videogen_pipelines.report.clips import ReportClip
from videogen_pipelines.report.curves import Curve, rounded, shorten
from videogen_pipelines.report.scores import ClipScores, MetricAbout
from videogen_pipelines.sidecar import TryHistory

_OF_SIDECAR = {
    "clip_id",
    "sha256",
    "codec",
    "attempts",
    "model",
    "node",
    "gang",
    "device",
    "parallel",
    "chunks",
    "chunk_starts",
    "versions",
    "warnings",
    "created_at",
    "tries",
}


def details_of(
    clip: ReportClip,
    scores: ClipScores | None,
    curves: dict[str, Curve],
    metrics: tuple[MetricAbout, ...],
) -> dict[str, Any]:
    """JSON types only."""
    directions = {metric.name: metric.direction for metric in metrics}
    return {
        "id": clip.id,
        "row": clip.row(),
        "made": _made(clip),
        "p95": {name: rounded(value) for name, value in scores.p95.items()} if scores else {},
        "worst_frame": dict(scores.worst_frame) if scores else {},
        "skipped": dict(scores.skipped) if scores else {},
        "not_scored": scores.error if scores else None,
        "curves": {n: shorten(c, directions[n]) for n, c in curves.items() if n in directions},
    }


def rejected_tries(storage: Storage, clip: ReportClip) -> TryHistory | None:
    """The tries at a clip of which none was accepted; None for any other.

    Raises:
        StorageError: the storage failed.
    """
    if clip.failure is None or clip.failure.error_class != "rejected":
        return None
    try:
        return TryHistory.model_validate_json(storage.read(tries_key(clip.id)))
    except (MissingKeyError, ValueError):  # the message of the failure says the most of it
        return None


def _made(clip: ReportClip) -> dict[str, Any]:
    if clip.sidecar is None:
        return {}
    return clip.sidecar.model_dump(mode="json", include=_OF_SIDECAR, exclude_none=True)
