"""What an evaluation returns: a number per metric with the curve it came from, and a flat row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Direction = Literal["higher", "lower", "info"]
"""Which way is better; "info" is neither, such as the amount of motion."""


@dataclass(frozen=True)
class MetricResult:
    """One metric of one clip.

    Attributes:
        value: the clip's number, usually the mean of the curve.
        p95: the curve's 95th percentile towards the bad side (towards the high side for "info").
        worst_frame: index of the curve's worst frame; None without a curve.
        curve: float32 `[t]`, one number per frame, NaN where the metric is not defined.
        details: whatever else belongs to the number, JSON values only.
    """

    name: str
    value: float
    direction: Direction
    unit: str
    backend: str
    version: int
    p95: float | None = None
    worst_frame: int | None = None
    curve: np.ndarray | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ClipMetrics:
    """All metrics of one clip.

    Attributes:
        results: by metric name, in the order asked for.
        skipped: why a metric that was asked for has no number, by name.
        size: shorter side of the evaluated frames in pixels.
        lag: distance in frames of the pairs that motion is measured on.
        feature: float32 `[d]` for comparing sets of clips, if asked for.
    """

    num_frames: int
    fps: float
    height: int
    width: int
    size: int
    lag: int
    results: dict[str, MetricResult]
    skipped: dict[str, str]
    feature: np.ndarray | None = None

    def __getitem__(self, name: str) -> MetricResult:
        return self.results[name]

    def values(self, detailed: bool = False) -> dict[str, float]:
        """The clip as a flat row, `{"family.metric": number}`.

        Args:
            detailed: also `<name>.p95`, `<name>.worst_frame` and `<name>.worst_s`.
        """
        row = {name: result.value for name, result in self.results.items()}
        if detailed:
            for name, result in self.results.items():
                row |= self._details(name, result)
        return row

    def curves(self) -> dict[str, np.ndarray]:
        """Every per-frame curve, float32 `[t]`, by metric name."""
        return {n: r.curve for n, r in self.results.items() if r.curve is not None}

    def _details(self, name: str, result: MetricResult) -> dict[str, float]:
        extra: dict[str, float] = {}
        if result.p95 is not None:
            extra[f"{name}.p95"] = result.p95
        if result.worst_frame is not None:
            extra[f"{name}.worst_frame"] = float(result.worst_frame)
            extra[f"{name}.worst_s"] = result.worst_frame / self.fps
        return extra
