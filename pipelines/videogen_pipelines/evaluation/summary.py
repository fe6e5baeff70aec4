"""`metrics/summary.json`: the numbers of all clips together, whoever scored them in what order."""

from __future__ import annotations

import json
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from videogen.evaluation import Metric
from videogen_pipelines.evaluation.score import ClipScore
from videogen_pipelines.evaluation.sources import SourceClip
from videogen_pipelines.evaluation.sweep import SWEEP, Grid, points_of

_ARROWS = {"higher": "↑", "lower": "↓", "info": ""}


class MetricSummary:
    """Collects the scores of clips, 8 bytes a number."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = {metric.name: metric for metric in metrics}
        self._values = {name: array("d") for name in self._metrics}
        self._weights: dict[str, set[str]] = {name: set() for name in self._metrics}
        self._skipped: dict[str, Counter[str]] = {}
        self._measured_on: Counter[str] = Counter()

    def add(self, score: ClipScore) -> None:
        """Take note of a clip; the order decides nothing but the last bits of no number."""
        self._measured_on[score.measured_on] += 1
        for name, found in score.metrics.items():
            self._values[name].append(found.value)
            if weights := found.details.get("weights_sha256"):
                self._weights[name].add(weights)
        for name, why in score.skipped.items():
            self._skipped.setdefault(name, Counter())[why] += 1

    def to_dict(self) -> dict[str, Any]:
        """JSON types only: `metrics`, `skipped` and `measured_on`."""
        return {
            "metrics": {
                name: {**self._about(name), **found} for name, found in self.numbers().items()
            },
            "skipped": {name: dict(sorted(self._skipped[name].items())) for name in self._skipped},
            "measured_on": dict(sorted(self._measured_on.items())),
        }

    def numbers(self) -> dict[str, Any]:
        """The statistics of every metric that has a number."""
        return {name: statistics(values) for name, values in self._values.items() if len(values)}

    def _about(self, name: str) -> dict[str, Any]:
        metric = self._metrics[name]
        return {
            "direction": metric.direction,
            "unit": metric.unit,
            "backend": metric.backend,
            "version": metric.version,
            "weights_sha256": sorted(self._weights[name]),
            "about": metric.about,
        }


class PointSummaries:
    """A `MetricSummary` for every point of a sweep's grid."""

    def __init__(self, metrics: Sequence[Metric], grid: Grid) -> None:
        self._grid = grid
        self._points = points_of(grid) if grid else []
        self._of = {_name(point): MetricSummary(metrics) for point in self._points}

    def add(self, clip: SourceClip, score: ClipScore) -> None:
        """Take note of a clip; one that belongs to no point is left out."""
        point = point_of(clip, self._grid)
        if point is not None and _name(point) in self._of:
            self._of[_name(point)].add(score)

    def to_dict(self) -> dict[str, Any] | None:
        """JSON types only: the grid, and for each of its points the numbers; None of no sweep."""
        if not self._points:
            return None
        points = [
            {"point": point, "metrics": self._of[_name(point)].numbers()} for point in self._points
        ]
        return {
            "grid": {name: list(values) for name, values in self._grid.items()},
            "points": points,
        }


def point_of(clip: SourceClip, grid: Grid) -> dict[str, Any] | None:
    """Where a clip lies on the grid of its run; None of a clip of no sweep."""
    said = {} if clip.sidecar is None else clip.sidecar.request.metadata.get(SWEEP)
    if not grid or not isinstance(said, dict):
        return None
    return {field: said.get(field) for field in grid}


def _name(point: Mapping[str, Any]) -> str:
    return json.dumps(point, sort_keys=True)


def statistics(values: Iterable[float]) -> dict[str, Any]:
    """Count, mean and quantiles, the same whatever the order of `values`."""
    ordered = np.sort(np.fromiter(values, np.float64))
    low, middle, high = np.quantile(ordered, (0.05, 0.5, 0.95))
    return {
        "count": len(ordered),
        "mean": math.fsum(ordered) / len(ordered),
        "p5": float(low),
        "p50": float(middle),
        "p95": float(high),
        "min": float(ordered[0]),
        "max": float(ordered[-1]),
    }


def summary_table(summary: dict[str, Any], title: str) -> RenderableType:
    """The numbers for the terminal; an arrow says which way is better."""
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1), header_style="dim")
    table.add_column("metric", no_wrap=True)
    for name in ("mean", "p5", "p95", "clips"):
        table.add_column(name, justify="right", no_wrap=True, min_width=8)
    table.add_column("unit", style="dim", no_wrap=True)
    for name, found in summary["metrics"].items():
        style = "bold" if name == "coherence.score" else ""
        table.add_row(
            Text(f"{name} {_ARROWS[found['direction']]}".rstrip(), style),
            *(Text(f"{found[column]:.3g}", style) for column in ("mean", "p5", "p95")),
            f"{found['count']:,}",
            found["unit"],
        )
    return table


KEY_METRICS = (
    "coherence.score",
    "motion.total",
    "flicker.unexplained",
    "consistency.subject",
    "text.adherence",
)


def brief_table(summary: dict[str, Any]) -> RenderableType:
    """The most telling numbers: by grid point of a sweep, else over all clips."""
    if summary["sweep"] is not None:
        return sweep_table(summary)
    chosen = {name: summary["metrics"][name] for name in KEY_METRICS if name in summary["metrics"]}
    return summary_table({"metrics": chosen or summary["metrics"]}, "Scores")


def sweep_table(summary: dict[str, Any], names: Sequence[str] = KEY_METRICS) -> RenderableType:
    """Means by grid point for the terminal.

    Args:
        summary: what `summary.json` of a sweep says.
        names: metrics to show; those without a number are left out.
    """
    sweep = summary["sweep"]
    shown = [name for name in names if name in summary["metrics"]]
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for name in sweep["grid"]:
        table.add_column(name.replace("_", "_\n"), no_wrap=True)
    table.add_column("clips", justify="right")
    for name in shown:
        arrow = _ARROWS[summary["metrics"][name]["direction"]]
        table.add_column(f"{name}.{arrow}".replace(".", "\n"), justify="right", no_wrap=True)
    for entry in sweep["points"]:
        numbers = entry["metrics"]
        count = max((found["count"] for found in numbers.values()), default=0)
        means = [f"{numbers[n]['mean']:.3g}" if n in numbers else "" for n in shown]
        table.add_row(*map(_spoken, entry["point"].values()), f"{count:,}", *means)
    return table


def _spoken(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
