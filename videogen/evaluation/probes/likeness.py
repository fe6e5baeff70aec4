"""How alike frames are at growing distances in time, by weights-free descriptors."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from videogen.evaluation.subject import (
    Descriptor,
    background_similarity,
    describe,
    subject_similarity,
)
from videogen.evaluation.window import Window

CURVE_LAGS_S = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


def lag_column(lag_s: float) -> str:
    """Name of the column with the similarity to the frame `lag_s` seconds earlier."""
    return f"alike_{lag_s:g}s"


class LikenessProbe:
    """Similarity to the frame before, to the first, and to those of `CURVE_LAGS_S` ago."""

    columns = (
        "subject_previous",
        "subject_first",
        "background_previous",
        "background_first",
        *map(lag_column, CURVE_LAGS_S),
    )
    delay_lags = 0

    def __init__(self, fps: float) -> None:
        self._lags = {lag_column(lag): max(1, round(lag * fps)) for lag in CURVE_LAGS_S}
        self._past: deque[Descriptor] = deque(maxlen=max(self._lags.values()))
        self._first: Descriptor | None = None

    def measure(self, window: Window) -> Mapping[str, float]:
        now = describe(window.now.lab, window.now.segmentation)
        row = self._compare(now)
        self._past.append(now)
        self._first = self._first or now
        return row

    def _compare(self, now: Descriptor) -> dict[str, float]:
        if self._first is None:
            return {}
        before = self._past[-1]
        row = {
            "subject_previous": subject_similarity(before, now),
            "subject_first": subject_similarity(self._first, now),
            "background_previous": background_similarity(before, now),
            "background_first": background_similarity(self._first, now),
        }
        for name, lag in self._lags.items():
            if lag <= len(self._past):
                then = self._past[-lag]
                alike = subject_similarity(then, now) + background_similarity(then, now)
                row[name] = alike / 2
        return row
