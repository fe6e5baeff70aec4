"""`ClipScore`, what is stored of one clip, and its curves."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field

from videogen.evaluation import ClipMetrics
from videogen_pipelines.sidecar import Record

MeasuredOn = Literal["file", "frames"]
CURVE_DIGITS = 6


class MetricScore(Record):
    """One metric of one clip; see `videogen.evaluation.MetricResult`."""

    value: float
    p95: float | None = None
    worst_frame: int | None = None
    unit: str
    direction: Literal["higher", "lower", "info"]
    backend: str
    version: int
    details: dict[str, Any] = Field(default_factory=dict)


class ClipScore(Record):
    """All metrics of one clip.

    `version` names the content that was measured (the start of a clip's SHA-256, or a file's size
    and time), `measured_on` whether that was the file, or the frames before they were encoded.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    id: str
    key: str
    version: str
    fingerprint: str
    measured_on: MeasuredOn
    num_frames: int
    fps: float
    height: int
    width: int
    size: int
    lag: int
    prompt: str | None = None
    boundaries: tuple[int, ...] = ()
    metrics: dict[str, MetricScore]
    skipped: dict[str, str]
    feature: tuple[float, ...] | None = None
    """What sets of clips are compared by; see `videogen.evaluation.sets`."""
    elapsed_s: float = 0.0

    @classmethod
    def of(cls, metrics: ClipMetrics, **named: Any) -> ClipScore:
        """From what the evaluator found; `named` are the other fields."""
        return cls(
            num_frames=metrics.num_frames,
            fps=metrics.fps,
            height=metrics.height,
            width=metrics.width,
            size=metrics.size,
            lag=metrics.lag,
            metrics={
                name: MetricScore(
                    value=found.value,
                    p95=found.p95,
                    worst_frame=found.worst_frame,
                    unit=found.unit,
                    direction=found.direction,
                    backend=found.backend,
                    version=found.version,
                    details=_plain(found.details),
                )
                for name, found in metrics.results.items()
            },
            skipped=dict(metrics.skipped),
            feature=None if metrics.feature is None else _feature(metrics.feature),
            **named,
        )

    def values(self) -> dict[str, float]:
        """name -> number."""
        return {name: score.value for name, score in self.metrics.items()}


def curves_json(name: str, fps: float, curves: Mapping[str, np.ndarray]) -> bytes:
    """Every curve `[t]` as JSON; a frame where a metric is not defined is null."""
    document = {
        "schema": 1,
        "id": name,
        "fps": fps,
        "curves": {metric: [_number(value) for value in curve] for metric, curve in curves.items()},
    }
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _feature(vector: np.ndarray) -> tuple[float, ...]:
    return tuple(float(f"{value:.{CURVE_DIGITS}g}") for value in vector)


def _number(value: float) -> float | None:
    return float(f"{value:.{CURVE_DIGITS}g}") if math.isfinite(value) else None


def _plain(value: Any) -> Any:
    """The same as JSON types; numbers that are none become null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
