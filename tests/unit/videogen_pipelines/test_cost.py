"""Seconds of devices that were useful, and those that were lost."""

from __future__ import annotations

import pytest

from videogen_cluster.failures import ErrorClass, Failure
from videogen_cluster.health import Activity
from videogen_cluster.listener import Snapshot
from videogen_cluster.scheduler import Completed, DeadLettered, Requeued
from videogen_pipelines.cost import GpuMeter, money

FAILURE = Failure(ErrorClass.RANK_DEATH, "gone")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def seen(meter: GpuMeter, clock: Clock, seconds: float, **stages: str) -> None:
    """So many seconds in which these items were at these stages, as a driver tells it."""
    activities = tuple(Activity(name, stage, 1, 8, 0.0) for name, stage in stages.items())
    for _ in range(round(seconds)):
        clock.now += 1
        meter.progress(Snapshot(0, 0, 1, 1, activities, stopping=False))


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_useful_seconds_are_those_that_ranks_measured(clock: Clock):
    meter = GpuMeter(4, gpu_s=10.0, clock=clock)
    seen(meter, clock, 30, a="denoise")
    meter.completed(Completed("a", 1, {"gpu_s": 96.5}))
    meter.completed(Completed("old", 1, {}))
    assert (meter.gpu_s, meter.lost_gpu_s, meter.total_s) == (106.5, 0.0, 106.5)


def test_an_attempt_that_fails_loses_what_all_its_ranks_did(clock: Clock):
    meter = GpuMeter(4, clock=clock)
    seen(meter, clock, 1)
    seen(meter, clock, 20, a="denoise", b="encode")
    meter.requeued(Requeued("a", 1, FAILURE, 0.0))
    meter.requeued(Requeued("b", 1, FAILURE, 0.0))
    assert meter.lost_gpu_s == 80
    seen(meter, clock, 5, a="decode")
    meter.dead_lettered(DeadLettered("a", 2, FAILURE))
    assert meter.lost_gpu_s == 100


def test_a_clip_that_succeeds_after_a_loss_counts_once(clock: Clock):
    meter = GpuMeter(clock=clock)
    seen(meter, clock, 1)
    seen(meter, clock, 7, a="denoise")
    meter.requeued(Requeued("a", 1, FAILURE, 0.0))
    seen(meter, clock, 9, a="denoise")
    meter.completed(Completed("a", 2, {"gpu_s": 9.0}))
    assert (meter.gpu_s, meter.lost_gpu_s) == (9.0, 7.0)


def test_a_million_events_a_minute_are_not_sampled_each(clock: Clock):
    meter = GpuMeter(clock=clock)
    for _ in range(1000):
        clock.now += 0.001
        meter.progress(Snapshot(0, 0, 1, 1, (Activity("a", "denoise", 1, 8, 0.0),), stopping=False))
    meter.requeued(Requeued("a", 1, FAILURE, 0.0))
    assert meter.lost_gpu_s == pytest.approx(0.5, abs=0.01)


def test_memory_does_not_grow_with_clips_that_vanish(clock: Clock):
    meter = GpuMeter(clock=clock)
    for number in range(2000):
        seen(meter, clock, 1, **{f"clip-{number}": "denoise"})
    assert len(meter._attempts) < 400


def test_money_needs_a_price():
    assert money(3600.0, 0.0) is None
    assert money(5400.0, 2.0) == 3.0
