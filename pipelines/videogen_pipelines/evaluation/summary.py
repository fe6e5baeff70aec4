"""`metrics/summary.json`: the numbers of all clips together, whoever scored them in what order."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from videogen.evaluation import Metric
from videogen_pipelines.evaluation.score import ClipScore

_ARROWS = {"higher": "↑", "lower": "↓", "info": ""}


class MetricSummary:
    """Collects the scores of clips, 8 bytes a number."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = {metric.name: metric for metric in metrics}
        self._values = {name: array("d") for name in self._metrics}
        self._skipped: dict[str, Counter[str]] = {}
        self._measured_on: Counter[str] = Counter()

    def add(self, score: ClipScore) -> None:
        """Take note of a clip; the order decides nothing but the last bits of no number."""
        self._measured_on[score.measured_on] += 1
        for name, value in score.values().items():
            self._values[name].append(value)
        for name, why in score.skipped.items():
            self._skipped.setdefault(name, Counter())[why] += 1

    def to_dict(self) -> dict[str, Any]:
        """JSON types only: `metrics`, `skipped` and `measured_on`."""
        return {
            "metrics": {
                name: {**self._about(name), **statistics(values)}
                for name, values in self._values.items()
                if len(values)
            },
            "skipped": {name: dict(sorted(self._skipped[name].items())) for name in self._skipped},
            "measured_on": dict(sorted(self._measured_on.items())),
        }

    def _about(self, name: str) -> dict[str, Any]:
        metric = self._metrics[name]
        return {
            "direction": metric.direction,
            "unit": metric.unit,
            "backend": metric.backend,
            "version": metric.version,
            "about": metric.about,
        }


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
