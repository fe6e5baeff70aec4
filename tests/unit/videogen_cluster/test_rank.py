"""A rank without Ray around it: order, overlap, stopping, and failures as records."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from videogen_cluster import rank as rank_module
from videogen_cluster.failures import ErrorClass, Failure
from videogen_cluster.rank import Rank
from videogen_cluster.workload import Heartbeat, RankContext


class Recorder:
    """Notes what computes in which thread; `gates` hold computing up."""

    def __init__(self) -> None:
        self.computed: list[tuple[str, str]] = []
        self.gates: dict[str, threading.Event] = {}
        self.computing = 0

    def setup(self, context: RankContext) -> None:
        self.setup_thread = threading.current_thread().name
        if context.gang == 99:
            raise ValueError("no weights")

    def compute(
        self, item: Mapping[str, Any], heartbeat: Heartbeat
    ) -> Callable[[], dict[str, Any]]:
        self.computing += 1
        assert self.computing == 1, "two items computed at once"
        heartbeat("denoise", 1, 2)
        if gate := self.gates.get(item["id"]):
            gate.wait(10)
        self.computed.append((item["id"], threading.current_thread().name))
        self.computing -= 1
        if item["id"] == "bad":
            raise MemoryError
        if item["id"] == "leaves":
            raise SystemExit(1)
        return self.failing if item["id"] == "unstored" else lambda: {"id": item["id"]}

    def failing(self) -> dict[str, Any]:
        raise OSError("disk full")


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    monkeypatch.setattr(rank_module, "_die_with_parent", lambda: None)  # pytest's may be anything
    return Recorder()


def make(recorder: Recorder, gang: int = 0, world_size: int = 1) -> Any:
    # Any, because Ray's decorators hide its types.
    return Rank(recorder, RankContext(gang, 0, world_size, "cpu", 1))


def call(pool: ThreadPoolExecutor, rank: Any, name: str, turn: int) -> Future[Any]:
    return pool.submit(rank.run, {"id": name}, turn)


def test_items_compute_in_the_order_of_their_turns_in_one_thread(recorder: Recorder):
    rank = make(recorder)
    with ThreadPoolExecutor(4) as pool:
        calls = [call(pool, rank, f"item-{turn}", turn) for turn in (3, 1, 2, 0)]
        assert [made.result(10)["id"] for made in calls] == [f"item-{n}" for n in (3, 1, 2, 0)]
    assert [name for name, _ in recorder.computed] == [f"item-{n}" for n in range(4)]
    assert len({thread for _, thread in recorder.computed}) == 1


def test_exceptions_of_any_kind_are_records(recorder: Recorder):
    rank = make(recorder)
    failed = rank.run({"id": "bad"}, 0)
    assert isinstance(failed, Failure)
    assert failed.error_class is ErrorClass.OUT_OF_MEMORY
    left = rank.run({"id": "leaves"}, 1)
    assert isinstance(left, Failure)
    assert left.error_class is ErrorClass.UNEXPECTED
    assert rank.run({"id": "good"}, 2) == {"id": "good"}


def test_a_failing_setup_is_a_record(recorder: Recorder):
    failed = make(recorder, gang=99).setup()
    assert isinstance(failed, Failure)
    assert failed.message == "ValueError: no weights"
    assert recorder.setup_thread.startswith("compute")


def test_a_stopped_rank_hands_back_what_it_has_not_started(recorder: Recorder):
    rank = make(recorder)
    gate = recorder.gates["first"] = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        first = call(pool, rank, "first", 0)
        second = call(pool, rank, "second", 1)
        while not rank.beat():
            time.sleep(0.01)
        rank.stop()
        gate.set()
        assert first.result(10) == {"id": "first"}
        handed_back = second.result(10)
    assert isinstance(handed_back, Failure)
    assert handed_back.error_class is ErrorClass.CANCELLED
    assert [name for name, _ in recorder.computed] == ["first"]


def test_a_rank_of_several_that_gave_up_an_item_computes_nothing_more(recorder: Recorder):
    rank = make(recorder, world_size=2)
    assert rank.run({"id": "bad"}, 0).while_computing
    refused = rank.run({"id": "next"}, 1)
    assert refused.error_class is ErrorClass.COLLECTIVE
    assert [name for name, _ in recorder.computed] == ["bad"]


def test_what_fails_after_computing_leaves_nobody_waiting(recorder: Recorder):
    rank = make(recorder, world_size=2)
    failed = rank.run({"id": "unstored"}, 0)
    assert failed.error_class is ErrorClass.STORAGE
    assert not failed.while_computing
    assert rank.run({"id": "next"}, 1) == {"id": "next"}


def test_ranks_that_have_no_place_to_meet_load_nothing(recorder: Recorder):
    failure = Failure(ErrorClass.STORAGE, "no port")
    assert make(recorder, world_size=2).setup(failure) is failure
    assert not hasattr(recorder, "setup_thread")


def test_a_rank_says_what_it_does_until_it_is_done(recorder: Recorder):
    rank = make(recorder)
    gate = recorder.gates["item"] = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        made = call(pool, rank, "item", 0)
        while not any(activity.stage == "denoise" for activity in rank.beat()):
            time.sleep(0.01)
        (activity,) = rank.beat()
        assert (activity.item_id, activity.step, activity.total) == ("item", 1, 2)
        gate.set()
        made.result(10)
    assert rank.beat() == ()
