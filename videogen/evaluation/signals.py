"""Per-frame measurements of a clip, column by column; metrics are functions of this table."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from videogen.evaluation.window import Window

NAN = float("nan")


class Probe(Protocol):
    """Measures each frame as it comes; holds at most a fixed amount of state."""

    @property
    def columns(self) -> Sequence[str]:
        """Names of the numbers."""
        ...

    @property
    def delay_lags(self) -> int:
        """A number written when frame t arrives describes frame t - delay_lags * lag."""
        ...

    def measure(self, window: Window) -> Mapping[str, float]:
        """Numbers for the newest frame; a missing column is not defined there."""
        ...


@runtime_checkable
class Concluding(Protocol):
    """A probe that also has something to say of the clip as a whole."""

    def conclude(self) -> Mapping[str, Any]:
        """Results by name, once all frames were measured."""
        ...


class SignalTable:
    """Columns of 4-byte floats that grow by one number a frame."""

    def __init__(self, probes: Sequence[Probe], lag: int) -> None:
        self._probes = probes
        self._lag = lag
        self._columns = {name: array("f") for probe in probes for name in probe.columns}

    def measure(self, window: Window) -> None:
        """Let every probe look at the window."""
        for probe in self._probes:
            row = probe.measure(window)
            for name in probe.columns:
                self._columns[name].append(row.get(name, NAN))

    def arrays(self) -> dict[str, np.ndarray]:
        """Every column as float32 `[t]`, moved to the frame it describes."""
        return {
            name: _earlier(np.array(self._columns[name], np.float32), probe.delay_lags * self._lag)
            for probe in self._probes
            for name in probe.columns
        }

    def conclusions(self) -> dict[str, Any]:
        """What the probes say of the whole clip, by name."""
        found: dict[str, Any] = {}
        for probe in self._probes:
            if isinstance(probe, Concluding):
                found.update(probe.conclude())
        return found


def _earlier(column: np.ndarray, frames: int) -> np.ndarray:
    if not frames or not len(column):
        return column
    moved = np.full_like(column, np.nan)
    moved[:-frames] = column[frames:]
    return moved


@dataclass(frozen=True)
class Timeline:
    """A whole clip as its metrics see it.

    Attributes:
        columns: float32 `[t]` by signal name.
        boundaries: first frames of the chunks the generator joined, without 0.
        extra: results of probes that are no column, by name.
    """

    num_frames: int
    fps: float
    lag: int
    columns: dict[str, np.ndarray]
    boundaries: tuple[int, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    @property
    def lag_s(self) -> float:
        """Time between the frames of a pair in seconds."""
        return self.lag / self.fps
