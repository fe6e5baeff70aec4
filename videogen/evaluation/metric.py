"""What a metric is: a name, a direction, the probes it reads, and a function of the timeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from videogen.evaluation.result import Direction, MetricResult
from videogen.evaluation.signals import Timeline

DIS = "opencv-dis-medium"


@dataclass(frozen=True)
class Score:
    """A metric's number for a clip, its curve `[t]`, and details. NaN: not defined here."""

    value: float
    curve: np.ndarray | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Metric:
    """One row of the table of metrics.

    Attributes:
        probes: names of the probes whose columns `compute` reads.
        compute: from a clip's timeline to its score.
        min_frames: a clip needs so many frames for the number to exist.
        default: whether it is computed when nobody names metrics.
        weights: name of the weights folder it needs; empty for none.
        about: one sentence for people.
        absent: why a clip of enough frames may still have no number.
    """

    name: str
    direction: Direction
    unit: str
    probes: tuple[str, ...]
    compute: Callable[[Timeline], Score]
    about: str
    backend: str = "numpy"
    version: int = 1
    min_frames: int = 1
    default: bool = True
    weights: str = ""
    absent: str = "not defined for this clip"

    def result(self, score: Score, provenance: Mapping[str, str]) -> MetricResult:
        """Add the curve's 95th percentile and worst frame, and `provenance` to the details."""
        p95, worst = bad_tail(score.curve, self.direction)
        return MetricResult(
            name=self.name,
            value=float(score.value),
            direction=self.direction,
            unit=self.unit,
            backend=self.backend,
            version=self.version,
            p95=p95,
            worst_frame=worst,
            curve=None if score.curve is None else score.curve.astype(np.float32),
            details={**score.details, **provenance},
        )


def bad_tail(curve: np.ndarray | None, direction: Direction) -> tuple[float | None, int | None]:
    """The 95th percentile towards the bad side, and the index of the worst frame."""
    if curve is None or not np.isfinite(curve).any():
        return None, None
    if direction == "higher":
        return float(np.nanquantile(curve, 0.05)), int(np.nanargmin(curve))
    return float(np.nanquantile(curve, 0.95)), int(np.nanargmax(curve))


def mean(curve: np.ndarray) -> float:
    """Mean over the frames where the curve is defined; NaN where there is none."""
    defined = curve[np.isfinite(curve)]
    return float(defined.mean(dtype=np.float64)) if len(defined) else float("nan")
