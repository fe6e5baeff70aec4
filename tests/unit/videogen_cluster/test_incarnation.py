"""When a gang is late, hung or out of reach, and what is held against it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from videogen_cluster import incarnation
from videogen_cluster.failures import ErrorClass, Failure
from videogen_cluster.handshake import Versions
from videogen_cluster.health import Activity, Patience, Pulse
from videogen_cluster.incarnation import CAUSE_S, DOUBT_S, Incarnation
from videogen_cluster.rank import RankReady

MINUTE = Patience(60.0)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(incarnation, "time", SimpleNamespace(monotonic=found))
    return found


def body(clock: Clock, nodes: tuple[str, ...] = (), world_size: int = 1) -> Incarnation:
    shape = SimpleNamespace(world_size=world_size)
    gang: Any = SimpleNamespace(index=7, nodes=lambda: nodes, shape=shape)
    return Incarnation(gang, Pulse(clock()))


def test_waiting_for_room_is_no_late_start(clock: Clock):
    waiting = body(clock)
    waiting.look()
    clock.now += 1e6
    assert waiting.state == "waiting"
    assert waiting.overdue(MINUTE, 900.0) is None


def test_a_start_is_timed_from_the_moment_it_has_its_resources(clock: Clock):
    late = body(clock, nodes=("n1",))
    clock.now += 5000.0
    late.look()
    assert late.state == "starting"
    clock.now += 900.0
    assert late.overdue(MINUTE, 900.0) is None
    clock.now += 1.0
    failure = late.overdue(MINUTE, 900.0)
    assert (failure.error_class, failure.gang, failure.node) == (ErrorClass.HANG, 7, "n1")


def test_a_hang_names_what_was_done_and_how_long_nobody_knew(clock: Clock):
    hung = body(clock, nodes=("n1",))
    hung.ready = True
    hung.pulse.hear((Activity("a", "denoise", 3, 20, 10.0),), clock())
    clock.now += 51.0
    failure = hung.overdue(MINUTE, 900.0)
    assert failure.error_class is ErrorClass.HANG
    assert failure.detected_s == 61.0
    assert "a: denoise 3/20" in failure.message


def test_a_first_step_is_given_the_time_of_a_setup(clock: Clock):
    compiling = body(clock, nodes=("n1",))
    compiling.ready = True
    compiling.pulse.hear((Activity("a", "start", 0, 1, 900.0),), clock())
    assert compiling.overdue(Patience(), 900.0) is None
    compiling.pulse.hear((Activity("a", "start", 0, 1, 901.0),), clock())
    failure = compiling.overdue(Patience(), 900.0)
    assert (failure.error_class, failure.detected_s) == (ErrorClass.HANG, 901.0)
    assert "for 900 s" in failure.message
    assert compiling.overdue(MINUTE, 900.0), "a person's word holds for first steps"


def test_a_rank_out_of_reach_is_given_time_and_then_blamed_on_nobody(clock: Clock):
    doubted = body(clock, nodes=("n1",))
    doubted.ready = True
    doubted.doubts[0] = clock()
    clock.now += DOUBT_S
    short = Patience(1.0)
    assert doubted.overdue(short, 900.0) is None, "a short hang timeout must not charge a lost node"
    clock.now += 1.0
    assert doubted.overdue(short, 900.0).error_class is ErrorClass.PREEMPTION


def test_time_in_which_nobody_listened_is_forgiven(clock: Clock):
    one = body(clock, nodes=("n1",))
    one.look()
    one.doubts[0] = clock()
    clock.now += 1000.0
    one.excuse(1000.0)
    assert one.doubted_s == 0.0
    one.doubts.clear()
    assert one.overdue(MINUTE, 900.0) is None


def test_a_failure_is_told_where_it_happened(clock: Clock):
    found = body(clock)
    found.place(("n1", "n2"))
    versions = Versions("", "", "", "", "")
    found.ranks[1] = RankReady(5, "n2", versions)
    clock.now += 3.0
    failure = found.blame(Failure(ErrorClass.RANK_DEATH, "x"), rank=1)
    assert (failure.node, failure.detected_s) == ("n2", None)
    found.ready = True
    assert found.blame(Failure(ErrorClass.RANK_DEATH, "x")).detected_s == 3.0
    assert found.blame(Failure(ErrorClass.RANK_DEATH, "x")).node == "n1"


LEFT = Failure(ErrorClass.COLLECTIVE, "connection closed by peer")


def test_ranks_that_were_left_wait_a_moment_for_the_reason(clock: Clock):
    left = body(clock, nodes=("n1",), world_size=3)
    left.complain(0, LEFT)
    clock.now += CAUSE_S / 2
    left.complain(2, LEFT)
    assert left.overdue(MINUTE, 900.0) is None
    clock.now += CAUSE_S / 2 + 0.1
    failure = left.overdue(MINUTE, 900.0)
    assert (failure.error_class, failure.gang) == (ErrorClass.COLLECTIVE, 7)


def test_ranks_that_were_left_by_one_out_of_reach_have_lost_its_machine(clock: Clock):
    left = body(clock, nodes=("n1",), world_size=2)
    left.complain(0, LEFT)
    left.doubts[1] = clock.now
    clock.now += CAUSE_S + 0.1
    assert left.overdue(MINUTE, 900.0).error_class is ErrorClass.PREEMPTION


def test_ranks_that_all_complain_have_nobody_to_wait_for(clock: Clock):
    left = body(clock, nodes=("n1",), world_size=2)
    left.complain(0, LEFT)
    left.complain(1, LEFT)
    assert left.overdue(MINUTE, 900.0).error_class is ErrorClass.COLLECTIVE
