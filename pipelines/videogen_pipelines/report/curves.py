"""Curves per frame: short enough to draw, and added up over the clips of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from videogen.errors import StorageError
from videogen.storage import MissingKeyError, Storage

MAX_POINTS = 240
PROFILE_BINS = 24
DIGITS = 4

Curve = Sequence[float | None]


def read_curves(storage: Storage, key: str) -> dict[str, Curve]:
    """The curves that were stored for a clip, by metric; {} if there are none.

    Raises:
        StorageError: the storage failed, or they are damaged.
    """
    try:
        return json.loads(storage.read(key))["curves"]
    except MissingKeyError:
        return {}
    except (ValueError, KeyError) as error:
        raise StorageError(
            f"{storage.uri}/{key}: got {error}, expected curves of schema 1. Fix: delete it and "
            "run 'videogen evaluate' again."
        ) from error


def shorten(curve: Curve, direction: str) -> dict[str, Any]:
    """A curve to draw: of every `step` frames the worst, so that no fault gets lost."""
    values = _array(curve)
    step = max(1, math.ceil(len(values) / MAX_POINTS))
    if step > 1:
        padded = np.pad(values, (0, -len(values) % step), constant_values=np.nan)
        parts = padded.reshape(-1, step)
        lost = np.all(np.isnan(parts), axis=1)
        filled = np.where(np.expand_dims(lost, 1), 0.0, parts)
        worst = np.nanmin(filled, axis=1) if direction == "higher" else np.nanmax(filled, axis=1)
        values = np.where(lost, np.nan, worst)
    return {"step": step, "values": [rounded(value) for value in values.tolist()]}


class Profiles:
    """How metrics go over time within clips: quantiles over clips at each part of their length."""

    def __init__(self) -> None:
        self._parts: dict[str, list[np.ndarray]] = {}

    def add(self, curves: Mapping[str, Curve]) -> None:
        """Take note of a clip's curves."""
        for name, curve in curves.items():
            values = _array(curve)
            if len(values) > 1 and np.isfinite(values).any():
                self._parts.setdefault(name, []).append(_binned(values).astype(np.float32))

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """For each metric `clips`, and lists of `PROFILE_BINS` numbers: p10, p50, p90."""
        return {name: _quantiles(parts) for name, parts in self._parts.items()}


def rounded(value: float | None) -> float | None:
    """`value` to a few digits; None for what is no number."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{DIGITS}g}")


def _array(curve: Curve) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in curve], np.float64)


def _binned(values: np.ndarray) -> np.ndarray:
    """Means of equal parts of the length; short curves fill several bins with one frame."""
    edges = np.linspace(0, len(values), PROFILE_BINS + 1)
    low = np.floor(edges[:-1]).astype(int)
    high = np.maximum(np.ceil(edges[1:]).astype(int), low + 1)
    return np.array([_mean(values[a:b]) for a, b in zip(low, high, strict=True)])


def _mean(values: np.ndarray) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else math.nan


def _quantiles(parts: Sequence[np.ndarray]) -> dict[str, Any]:
    stack = np.stack(parts)
    found: dict[str, Any] = {"clips": len(parts)}
    for name, fraction in (("p10", 0.1), ("p50", 0.5), ("p90", 0.9)):
        columns = [column[np.isfinite(column)] for column in stack.T]
        found[name] = [
            rounded(float(np.quantile(column, fraction))) if len(column) else None
            for column in columns
        ]
    return found
