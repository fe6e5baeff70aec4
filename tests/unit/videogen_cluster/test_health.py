"""Silence is measured from the last sign of life, whoever failed to give it."""

from __future__ import annotations

from videogen_cluster.health import Activity, ActivityLog, Pulse


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_log_knows_how_long_each_item_has_been_silent():
    clock = Clock()
    log = ActivityLog(clock)
    log.note("a", "denoise", 1, 20)
    clock.now = 3.0
    log.note("b", "denoise", 0, 20)
    log.note("a", "encode", 2, 9)
    clock.now = 5.0
    assert log.snapshot() == (
        Activity("a", "encode", 2, 9, 2.0),
        Activity("b", "denoise", 0, 20, 2.0),
    )
    log.end("a")
    assert [activity.item_id for activity in log.snapshot()] == ["b"]


def test_an_idle_rank_that_answers_is_not_silent():
    pulse = Pulse(now=0.0)
    pulse.hear((), now=100.0)
    assert pulse.silent_s(100.5) == 0.5


def test_a_rank_that_does_not_answer_is_silent_since_its_last_answer():
    pulse = Pulse(now=0.0)
    pulse.hear((), now=10.0)
    assert pulse.silent_s(70.0) == 60.0


def test_a_rank_that_answers_but_makes_no_steps_is_silent_since_its_last_step():
    pulse = Pulse(now=0.0)
    working = Activity("b", "denoise", 3, 20, 0.1)
    stuck = Activity("a", "commit", 1, 1, 50.0)
    pulse.hear((stuck, working), now=100.0)
    assert pulse.silent_s(101.0) == 51.0
