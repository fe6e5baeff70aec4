"""Prometheus hears how many clips are left, which is what the time left is computed from."""

from __future__ import annotations

from pathlib import Path

import pytest

from videogen.storage import LocalStorage
from videogen_cluster.listener import Snapshot
from videogen_cluster.metrics import RunMetrics
from videogen_pipelines.cost import GpuMeter
from videogen_pipelines.metrics_listener import MetricsListener


class Heard(RunMetrics):
    """Keeps the last value of every gauge."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, float] = {}

    def _set(self, name: str, value: float, tags: dict[str, str]) -> None:
        self.values[name] = value


def snapshot(completed: int, failed: int) -> Snapshot:
    return Snapshot(completed, failed, 1, 1, (), False)


@pytest.mark.parametrize("ended,left", [((0, 0), 10), ((6, 1), 3), ((9, 1), 0)])
def test_left_is_what_has_not_ended(tmp_path: Path, ended: tuple[int, int], left: int):
    metrics = Heard()
    listener = MetricsListener(metrics, LocalStorage(tmp_path), GpuMeter(1), to_do=10)
    listener.progress(snapshot(*ended))
    assert metrics.values["clips_left"] == left


def test_nothing_is_said_where_nobody_knows(tmp_path: Path):
    metrics = Heard()
    listener = MetricsListener(metrics, LocalStorage(tmp_path), GpuMeter(1))
    listener.progress(snapshot(1, 0))
    assert "clips_left" not in metrics.values
