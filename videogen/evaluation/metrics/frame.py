"""`frame.*`: technical quality of the frames one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from videogen.evaluation.metric import Metric, Score, mean
from videogen.evaluation.result import Direction
from videogen.evaluation.signals import Timeline


def _mean_of(column: str) -> Callable[[Timeline], Score]:
    return lambda clip: Score(mean(clip[column]), clip[column])


def _row(name: str, direction: Direction, unit: str, about: str, **named: Any) -> Metric:
    return Metric(f"frame.{name}", direction, unit, ("light",), _mean_of(name), about, **named)


METRICS = (
    _row(
        "sharpness",
        "higher",
        "log2",
        "Laplacian energy over gradient energy on the strongest edges.",
        version=2,
        absent="no frame has an edge",
    ),
    _row("noise", "lower", "grey levels", "Noise from the finest diagonal wavelet, native size."),
    _row("blockiness", "lower", "grey levels", "Excess of steps at 8x8 block borders."),
    _row("contrast", "info", "ΔE", "Distance in colour between subject and background."),
    _row("colourfulness", "info", "0-100", "Hasler and Süsstrunk (2003)."),
    _row("clipped", "lower", "0-1", "Share of values at 0 or 255."),
)
