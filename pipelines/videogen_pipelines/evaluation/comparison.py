"""Two evaluations clip by clip: is B better than A, and how sure can one be? Pure arithmetic."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

RESAMPLES = 10_000
CONFIDENCE = 0.95
FEW_PAIRS = 10
_CHUNK_NUMBERS = 4_000_000

Verdict = Literal["better", "worse", "different", "no difference"]


@dataclass(frozen=True)
class MetricComparison:
    """One metric over the pairs that both sides have a number for.

    Attributes:
        difference: mean of B - A.
        low, high: bootstrap interval of that mean, 95 %, percentile method (Efron, 1979).
        better, worse, equal: pairs in which B is better than A, and so on; of a metric without a
            direction, `better` counts those in which it is higher.
        verdict: of B, if the interval does not hold 0; "different" where no way is the better one.
            A single pair has no interval, so it shows no difference.
    """

    name: str
    direction: Literal["higher", "lower", "info"]
    unit: str
    pairs: int
    mean_a: float
    mean_b: float
    difference: float
    low: float
    high: float
    better: int
    worse: int
    equal: int
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return asdict(self)


def compare_metric(
    name: str, about: Mapping[str, Any], one: Sequence[float], other: Sequence[float]
) -> MetricComparison:
    """Compare numbers that belong together pair by pair; A first.

    Args:
        about: `direction` and `unit` of the metric.
    """
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    difference = b - a
    low, high = bootstrap_interval(difference, name)
    direction = about["direction"]
    gain = -difference if direction == "lower" else difference
    return MetricComparison(
        name=name,
        direction=direction,
        unit=about["unit"],
        pairs=len(a),
        mean_a=float(a.mean()),
        mean_b=float(b.mean()),
        difference=float(difference.mean()),
        low=low,
        high=high,
        better=int((gain > 0).sum()),
        worse=int((gain < 0).sum()),
        equal=int((gain == 0).sum()),
        verdict=_verdict(low, high, direction) if len(a) > 1 else "no difference",
    )


def bootstrap_interval(values: np.ndarray, name: str = "") -> tuple[float, float]:
    """Interval of the mean of `values`: quantiles of the means of resamples with replacement.

    The same values under the same name give the same interval, whatever their order.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    count = len(ordered)
    if count < 2 or ordered[0] == ordered[-1]:
        return float(ordered.mean()), float(ordered.mean())
    key = hashlib.blake2b(name.encode(), digest_size=8).digest()
    random = np.random.default_rng(int.from_bytes(key, "big"))
    step = max(1, min(RESAMPLES, _CHUNK_NUMBERS // count))
    means = np.concatenate(
        [
            ordered[random.integers(count, size=(min(step, RESAMPLES - done), count))].mean(axis=1)
            for done in range(0, RESAMPLES, step)
        ]
    )
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return float(low), float(high)


def _verdict(low: float, high: float, direction: str) -> Verdict:
    if low <= 0 <= high:
        return "no difference"
    if direction == "info":
        return "different"
    return "better" if (low > 0) == (direction == "higher") else "worse"
