"""The columns of `metrics/clips.parquet`: what is known of a clip, then three for each metric."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from videogen_pipelines.evaluation.score import ClipScore
from videogen_pipelines.evaluation.sources import SourceClip
from videogen_pipelines.evaluation.sweep import SWEEP
from videogen_pipelines.sidecar import Sidecar

SCORED, FAILED, MISSING = "scored", "failed", "missing"
_ABOUT = [
    pa.field("id", pa.string()),
    pa.field("status", pa.string()),  # scored, failed, missing
    pa.field("error", pa.string()),
    pa.field("key", pa.string()),  # of the video, below the source
    pa.field("curves", pa.string()),  # key of the curves, below the output
    pa.field("score", pa.string()),  # key of the whole score, below the output
    pa.field("version", pa.string()),
    pa.field("measured_on", pa.string()),  # file, frames
    pa.field("num_frames", pa.int64()),
    pa.field("fps", pa.float64()),
    pa.field("height", pa.int64()),
    pa.field("width", pa.int64()),
    pa.field("duration_s", pa.float64()),
    pa.field("prompt", pa.string()),
    pa.field("negative_prompt", pa.string()),
    pa.field("seed", pa.int64()),  # that the pixels were made with
    pa.field("num_inference_steps", pa.int64()),
    pa.field("guidance_scale", pa.float64()),
    pa.field("sampler", pa.string()),
    pa.field("model", pa.string()),
    pa.field("request", pa.string()),  # JSON
    pa.field("metadata", pa.string()),  # JSON
    pa.field("accepted", pa.bool_()),  # null where clips did not have to be
    pa.field("tries", pa.int64()),
    pa.field("skipped", pa.string()),  # JSON: metric -> why it has no number
]
_OF_REQUEST = ("negative_prompt", "num_inference_steps", "guidance_scale", "sampler")


_NO_SWEEP: Mapping[str, Sequence[Any]] = {}


@dataclass(frozen=True)
class ScoredClip:
    """A row to be: a clip with its score, or with why it has none."""

    clip: SourceClip
    score: ClipScore | None = None
    error: str | None = None
    score_key: str | None = None
    curves_key: str | None = None


def schema_of(metrics: Iterable[str], sweep: Mapping[str, Sequence[Any]] = _NO_SWEEP) -> pa.Schema:
    """The schema for these metrics: for each its number, its bad tail and its worst frame.

    Args:
        sweep: the grid of a run that is a sweep; adds `sweep.row` and a column for each field.
    """
    fields: list[Any] = list(_ABOUT)
    if sweep:
        fields.append(pa.field("sweep.row", pa.string()))
    for name, values in sweep.items():
        fields.append(pa.field(f"sweep.{name}", _type_of(values)))
    for name in metrics:
        fields += [
            pa.field(name, pa.float64()),
            pa.field(f"{name}.p95", pa.float64()),
            pa.field(f"{name}.worst_frame", pa.int64()),
        ]
    return pa.schema(fields)


def row_of(scored: ScoredClip) -> dict[str, Any]:
    """A row of `schema_of`; what is not known is left out."""
    clip, score = scored.clip, scored.score
    row: dict[str, Any] = {
        "id": clip.id,
        "key": clip.key,
        "version": clip.version,
        "prompt": clip.prompt,
        "error": scored.error,
        "status": SCORED if score else FAILED if scored.error else MISSING,
    }
    if clip.sidecar is not None:
        row |= _of_sidecar(clip.sidecar)
    if score is not None:
        row |= _of_score(score)
        row |= {"score": scored.score_key, "curves": scored.curves_key}
        row["prompt"] = clip.prompt or score.prompt
    return row


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows of `row_of` as a table."""
    columns = {field.name: [row.get(field.name) for row in rows] for field in schema}
    return pa.table(columns, schema=schema)


def _of_sidecar(sidecar: Sidecar) -> dict[str, Any]:
    request = sidecar.request.model_dump(mode="json")
    point = request["metadata"].get(SWEEP)
    return {
        **({f"sweep.{k}": _cell(v) for k, v in point.items()} if isinstance(point, dict) else {}),
        **{name: request[name] for name in _OF_REQUEST},
        "seed": sidecar.seed,
        "accepted": None if sidecar.tries is None else sidecar.tries.accepted,
        "tries": None if sidecar.tries is None else len(sidecar.tries.tries),
        "num_frames": sidecar.frames,
        "fps": request["fps"],
        "height": request["height"],
        "width": request["width"],
        "duration_s": sidecar.duration_s,
        "model": sidecar.model.name,
        "request": _json(request),
        "metadata": _json(request["metadata"]),
    }


def _of_score(score: ClipScore) -> dict[str, Any]:
    row: dict[str, Any] = {
        "measured_on": score.measured_on,
        "num_frames": score.num_frames,
        "fps": score.fps,
        "height": score.height,
        "width": score.width,
        "duration_s": score.num_frames / score.fps,
        "skipped": _json(score.skipped),
    }
    for name, found in score.metrics.items():
        row[name] = found.value
        row[f"{name}.p95"] = found.p95
        row[f"{name}.worst_frame"] = found.worst_frame
    return row


def _type_of(values: Sequence[Any]) -> pa.DataType:
    is_number = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return pa.float64() if is_number else pa.string()


def _cell(value: Any) -> Any:
    is_plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return value if is_plain else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
