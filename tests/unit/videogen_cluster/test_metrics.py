"""Metrics reach Ray's own under fixed names, and nobody needs Ray to count."""

from __future__ import annotations

from typing import Any

import pytest

from videogen_cluster import metrics
from videogen_cluster.health import Step
from videogen_cluster.metrics import RunMetrics


class FakeMetric:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def inc(self, amount: float, tags: dict[str, str]) -> None:
        self.told.append((amount, tags))

    set = observe = inc


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeMetric]:
    found: dict[str, FakeMetric] = {}
    monkeypatch.setattr(metrics, "_ray_is_up", lambda: True)
    monkeypatch.setattr(metrics, "_make", lambda name: found.setdefault(name, FakeMetric()))
    return found


def test_everything_is_counted_under_its_name(made: dict[str, FakeMetric]):
    run = RunMetrics()
    run.clip("done")
    run.attempt("hang")
    run.attempt()
    run.gangs(ready=2, waiting=0)
    run.in_flight(3)
    run.steps([Step("denoise", 0.5), Step("commit", 9.0)])
    run.stage("decode", 1.5)
    run.clip_bytes(10)
    run.storage_replies({"412": 2, "503": 0})
    run.gpu_seconds("lost", 4.0)
    run.collectives({"seq": 100, "cfg": 0}, {"seq": 0.25})
    assert {name: metric.told for name, metric in made.items()} == {
        "clips_total": [(1, {"state": "done"})],
        "attempts_total": [(1, {"error_class": "hang"}), (1, {"error_class": "ok"})],
        "gangs": [(2, {"state": "ready"}), (0, {"state": "waiting"})],
        "in_flight": [(3, {})],
        "step_seconds": [(0.5, {})],
        "stage_seconds": [(1.5, {"stage": "decode"})],
        "bytes_total": [(10, {})],
        "storage_replies_total": [(2, {"code": "412"})],
        "gpu_seconds_total": [(4.0, {"use": "lost"})],
        "collective_bytes_total": [(100, {"axis": "seq"})],
        "collective_seconds_total": [(0.25, {"axis": "seq"})],
    }


def test_without_ray_nothing_happens():
    run = RunMetrics()
    run.clip("done")
    run.gangs(ready=1)


@pytest.mark.parametrize("name", [*metrics._COUNTERS, *metrics._GAUGES, *metrics._HISTOGRAMS])
def test_ray_accepts_every_metric(name: str):
    assert metrics._make(name).info["name"] == f"videogen_{name}"
