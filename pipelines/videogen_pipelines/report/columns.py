"""The table of clips as the page reads it: column by column, strings by number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from videogen_pipelines.report.clips import ReportClip
from videogen_pipelines.report.curves import rounded
from videogen_pipelines.report.scores import ClipScores, MetricAbout
from videogen_pipelines.report.sweep import point_of, row_of
from videogen_pipelines.summary import STAGES

TEXTS = (
    "id",
    "status",
    "prompt",
    "negative_prompt",
    "seed",
    "sampler",
    "size",
    "extension",
    "device",
    "node",
    "error_class",
    "error_message",
    "sweep_row",
    "key",
    "pictures",
)
NUMBERS = (
    "num_frames",
    "fps",
    "height",
    "width",
    "duration_s",
    "num_inference_steps",
    "guidance_scale",
    "flow_shift",
    "bytes",
    "attempts",
    "tries",
    "gpu_s",
    *STAGES,
    "created_at",
)
AXIS = "axis:"
METRIC = "metric:"


def values_of(
    clip: ReportClip, scores: ClipScores | None, measured: Mapping[str, Any]
) -> dict[str, Any]:
    """One row: what is not known is left out.

    Args:
        measured: what its file says of itself; what the run says wins.
    """
    values: dict[str, Any] = {**measured, "id": clip.id, "status": clip.status}
    known = {k: v for k, v in (scores.about if scores else {}).items() if v is not None}
    values |= known | {k: v for k, v in clip.request.items() if k in TEXTS or k in NUMBERS}
    if "seed" in values:
        values["seed"] = str(values["seed"])  # larger than what a page's numbers hold
    if "width" in values and "height" in values:
        values["size"] = f"{values['width']}×{values['height']}"
    if clip.failure is not None:
        values |= {
            "error_class": clip.failure.error_class,
            "error_message": clip.failure.message,
            "attempts": clip.failure.attempts,
        }
    values |= _of_sidecar(clip)
    values["sweep_row"] = row_of(clip)
    values |= {f"{AXIS}{name}": value for name, value in point_of(clip).items()}
    if scores is not None:
        values |= {f"{METRIC}{name}": rounded(value) for name, value in scores.values.items()}
    return {**values, "key": clip.key}


def table_of(
    rows: Sequence[Mapping[str, Any]], metrics: Iterable[MetricAbout], axes: Iterable[str]
) -> dict[str, Any]:
    """Rows of `values_of` as columns; those that say nothing are left out.

    Returns:
        JSON types: `count`, and `columns` by name, each with `values`, and with `words` that these
        number where it holds text.
    """
    names = [*NUMBERS, *(f"{METRIC}{metric.name}" for metric in metrics)]
    columns = {name: _numbers(rows, name) for name in names}
    columns |= {name: _words(rows, name) for name in TEXTS}
    columns |= {f"{AXIS}{name}": _words(rows, f"{AXIS}{name}") for name in axes}
    return {
        "count": len(rows),
        "columns": {name: column for name, column in columns.items() if column is not None},
    }


def _of_sidecar(clip: ReportClip) -> dict[str, Any]:
    sidecar = clip.sidecar
    if sidecar is None:
        return {}
    timings = {name: round(value, 3) for name, value in sidecar.timings.model_dump().items()}
    return {
        **timings,
        "num_frames": sidecar.frames,
        "duration_s": round(sidecar.duration_s, 3),
        "bytes": sidecar.bytes,
        "attempts": sidecar.attempts,
        "tries": len(sidecar.tries.tries) if sidecar.tries else None,
        "gpu_s": round(sidecar.gpu_s, 3),
        "device": sidecar.device,
        "node": sidecar.node,
        "created_at": round(sidecar.created_at.timestamp()),
    }


def _numbers(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any] | None:
    values = [row.get(name) for row in rows]
    return {"values": values} if any(value is not None for value in values) else None


def _words(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any] | None:
    numbers: dict[str, int] = {}
    values: list[int | None] = []
    for row in rows:
        value = row.get(name)
        known = value is not None and value != ""
        values.append(numbers.setdefault(str(value), len(numbers)) if known else None)
    return {"words": list(numbers), "values": values} if numbers else None
