"""`Gate`: what a clip must reach to be accepted, and which of several tries is the best. Pure."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from videogen.errors import ConfigError
from videogen.seeds import seed_from_id
from videogen_pipelines.config import EvaluateSection, split_condition
from videogen_pipelines.sidecar import Try, TryHistory

_COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_NO_NUMBER = 1e9
"""The distance of a metric without a number: further than any number is."""


@dataclass(frozen=True)
class Gate:
    """Conditions by metric, such as {"coherence.score": ">= 0.8"}."""

    accept: Mapping[str, str]
    max_tries: int = 3
    on_reject: Literal["keep", "fail"] = "keep"

    @classmethod
    def of(cls, section: EvaluateSection) -> Gate | None:
        """The gate that a configuration asks for, or None.

        Raises:
            ConfigError: it names something that is no metric.
        """
        if not section.accept:
            return None
        from videogen.evaluation import METRICS

        for name in section.accept:
            if name not in METRICS:
                raise ConfigError(
                    f"evaluate.accept: got '{name}', expected a metric. Fix: choose of "
                    f"{', '.join(METRICS)}."
                )
        return cls(dict(section.accept), section.max_tries, section.on_reject)

    def judge(self, number: int, seed: int, metrics: Mapping[str, float]) -> Try:
        """What try `number` is worth."""
        complaints = tuple(
            f"{name}: got {_shown(metrics.get(name))}, expected {condition}"
            for name, condition in self.accept.items()
            if not _holds(metrics.get(name), condition)
        )
        return Try(number=number, seed=seed, metrics=dict(metrics), complaints=complaints)

    def best(self, tries: Sequence[Try]) -> Try:
        """An accepted one, or the one that misses least; of equal ones the first."""
        return min(tries, key=lambda one: (not one.accepted, self.distance(one), one.number))

    def distance(self, one: Try) -> float:
        """How far a try is from acceptance: the sum of what it misses, relative to the limits."""
        return sum(_distance(one.metrics.get(name), c) for name, c in self.accept.items())

    def history(self, tries: Sequence[Try]) -> TryHistory:
        """All tries, and the one that is kept."""
        chosen = self.best(tries).number
        return TryHistory(accept=dict(self.accept), chosen=chosen, tries=tuple(tries))


def seed_of_try(seed: int, number: int) -> int:
    """The seed of try `number`, from 1: the first has the row's own, the others a hash of it."""
    return seed if number == 1 else seed_from_id(f"{seed}/try-{number}")  # "/" is in no id


def _holds(value: float | None, condition: str) -> bool:
    sign, limit = split_condition(condition)
    return value is not None and _COMPARE[sign](value, limit)


def _distance(value: float | None, condition: str) -> float:
    if _holds(value, condition):
        return 0.0
    _, limit = split_condition(condition)
    return _NO_NUMBER if value is None else abs(value - limit) / (abs(limit) or 1.0)


def _shown(value: float | None) -> str:
    return "no number" if value is None else f"{value:.4g}"
