"""Silence is measured from the last sign of life, whoever failed to give it."""

from __future__ import annotations

import pytest

from videogen_cluster.health import Activity, ActivityLog, Patience, Pulse, Step


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
        Activity("a", "encode", 2, 9, 2.0, longest_s=3.0),
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


def test_a_rank_that_was_given_items_and_works_on_none_is_silent():
    pulse = Pulse(now=0.0)
    pulse.hear((), now=10.0)
    pulse.hear((), now=20.0, owes_items=True)
    pulse.hear((), now=30.0, owes_items=True)
    assert pulse.silent_s(31.0) == 21.0
    pulse.hear((Activity("a", "start", 0, 1, 0.0),), now=32.0, owes_items=True)
    assert pulse.silent_s(32.0) == 0.0


def test_steps_are_timed_by_what_was_done_and_told_once():
    clock = Clock()
    log = ActivityLog(clock)
    log.note("a", "start", 0, 1)
    clock.now = 2.0
    log.note("a", "denoise", 1, 2)
    clock.now = 5.0
    log.note("a", "commit", 0, 1)
    clock.now = 6.5
    log.end("a")
    log.end("never begun")
    assert log.take_steps() == (Step("denoise", 2.0), Step("commit", 3.0), Step("commit", 1.5))
    assert log.take_steps() == ()


def test_patience_is_a_minute_until_steps_take_longer():
    patience = Patience()
    assert patience.timeout_s == 60.0
    patience.learn([Step("denoise", 1.0)] * 99)
    assert patience.timeout_s == 60.0
    patience.learn([Step("denoise", 40.0)] * 5)
    assert patience.timeout_s == 200.0


def test_one_slow_step_in_a_thousand_does_not_make_patient():
    patience = Patience()
    patience.learn([Step("denoise", 1000.0)])
    assert patience.timeout_s == 5000.0
    patience.learn([Step("denoise", 1.0)] * 999)
    assert patience.timeout_s == 60.0


@pytest.mark.parametrize("said", [3.0, 10_000.0])
def test_a_persons_word_overrides_what_is_seen(said: float):
    patience = Patience(said)
    patience.learn([Step("denoise", 500.0)] * 10)
    assert patience.timeout_s == said


def test_steps_longer_than_a_minute_are_no_hang_from_the_first_one_on():
    clock, patience, pulse = Clock(), Patience(), Pulse(now=0.0)
    log = ActivityLog(clock)
    patience.learn([Step("denoise", 3.0)] * 1000)
    log.note("large", "start", 0, 1)
    for step in range(1, 4):
        clock.now += 66.9
        pulse.hear(log.snapshot(), clock.now)
        assert pulse.exceeded_s(clock.now, patience, first_step_s=900.0) is None
        log.note("large", "denoise", step, 50)
        patience.learn(log.take_steps())
    assert patience.timeout_s == 60.0
    clock.now += 5 * 66.9 + 1.0
    pulse.hear(log.snapshot(), clock.now)
    assert pulse.exceeded_s(clock.now, patience, first_step_s=900.0) == 5 * 66.9


@pytest.mark.parametrize(
    ("stage", "step", "allowed_s"),
    [("start", 0, 900.0), ("denoise", 1, 60.0), ("denoise", 49, 60.0), ("denoise", 50, 900.0)],
)
def test_only_the_first_step_of_a_kind_may_take_as_long_as_a_setup(
    stage: str, step: int, allowed_s: float
):
    activity = Activity("a", stage, step, 1 if stage == "start" else 50, 0.0, longest_s=2.0)
    assert Patience().allowed_s(activity, first_step_s=900.0) == allowed_s
    assert Patience(3.0).allowed_s(activity, first_step_s=900.0) == 3.0


def test_a_rank_that_does_not_answer_is_not_excused_by_a_first_step():
    patience, pulse = Patience(), Pulse(now=0.0)
    pulse.hear((Activity("a", "start", 0, 1, 1.0),), now=10.0)
    assert pulse.exceeded_s(70.0, patience, first_step_s=900.0) is None
    assert pulse.exceeded_s(70.5, patience, first_step_s=900.0) == 60.0


def test_a_silence_in_which_nobody_listened_is_forgiven():
    pulse = Pulse(now=0.0)
    pulse.hear((Activity("a", "denoise", 1, 2, 3.0),), now=10.0)
    pulse.excuse(100.0)
    assert pulse.silent_s(112.0) == 5.0
