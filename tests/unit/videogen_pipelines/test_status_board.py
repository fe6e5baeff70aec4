"""How a run stands, as `status.json` says it."""

from __future__ import annotations

import pytest

from videogen.errors import StorageError
from videogen.storage import LocalStorage
from videogen_cluster.failures import ErrorClass, Failure
from videogen_cluster.listener import InFlight, Snapshot
from videogen_cluster.scheduler import Completed, DeadLettered
from videogen_pipelines.cost import GpuMeter
from videogen_pipelines.events import EventLog
from videogen_pipelines.plan import ClipShape, Plan
from videogen_pipelines.status import STATUS_KEY, read_status, write_status
from videogen_pipelines.status_board import Rate, RunFacts, StatusBoard

FAILURE = Failure(ErrorClass.NON_FINITE, "NaN")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(storage: LocalStorage, clock: Clock) -> StatusBoard:
    events = EventLog(storage, 2)
    events.add("gang_ready", gang="gang-0")
    meter = GpuMeter(gpu_s=3000.0, lost_gpu_s=600.0)
    return StatusBoard(RunFacts(2, 2.0, "job-1", "http://head:8265"), meter, events, clock)


def plan(to_do: int, done: int = 0, invalid: int = 0) -> Plan:
    made = Plan(done=done, invalid=invalid)
    made.shapes[ClipShape(5, 32, 32, 2)] = to_do
    return made


def snapshot(*items: InFlight, stopping: bool = False) -> Snapshot:
    return Snapshot(0, 0, 1, 2, (), stopping=stopping, in_flight=items)


def test_a_run_that_starts_knows_no_rows(board: StatusBoard):
    status = board.status()
    assert (status.state, status.rows, status.pending, status.eta_s) == (
        "starting",
        None,
        None,
        None,
    )
    assert (status.invocation, status.job_id) == (2, "job-1")


def test_a_run_in_the_middle(board: StatusBoard, clock: Clock, storage: LocalStorage):
    board.planned(plan(to_do=10, done=5, invalid=1))
    board.gang_ready(0)
    board.progress(snapshot(InFlight("c", 1, "denoise", 3, 16), InFlight("d", 1)))
    clock.now += 30
    board.completed(Completed("a", 1, {}))
    board.dead_lettered(DeadLettered("b", 3, FAILURE))
    board.gang_lost(0, FAILURE)
    status = board.status()
    assert (status.rows, status.done, status.failed, status.pending) == (16, 6, 2, 8)
    assert status.clips_per_minute == 4.0
    assert status.eta_s == 120.0
    assert status.errors_by_class == {"invalid_request": 1, "non_finite": 1}
    assert (status.gangs.ready, status.gangs.total, status.gangs.lost) == (1, 2, 1)
    assert [(clip.id, clip.gang, clip.stage, clip.step) for clip in status.in_flight] == [
        ("c", "gang-1", "denoise", 3),
        ("d", "gang-1", "waiting", 0),
    ]
    assert (status.gpu_s, status.lost_gpu_s, status.cost) == (3000.0, 600.0, 2.0)
    assert status.recent_events[0]["event"] == "gang_ready"
    write_status(storage, status)
    assert read_status(storage) == status


def test_failures_that_are_not_tried_again_stand(board: StatusBoard):
    retrying = plan(to_do=4, done=90, invalid=1)
    retrying.held, retrying.held_by_class["out_of_memory"] = 8, 6
    board.planned(retrying)
    for number in range(4):
        board.completed(Completed(f"clip-{number}", 1, {}))
    status = board.status()
    assert (status.rows, status.done, status.failed, status.pending) == (103, 94, 7, 2)
    assert status.errors_by_class == {"out_of_memory": 6, "invalid_request": 1}


def test_a_run_that_stops_says_so_and_ends_without_clips_in_flight(board: StatusBoard):
    board.progress(snapshot(InFlight("c", 0, "denoise", 3, 16), stopping=True))
    assert board.status().state == "draining"
    board.ended("interrupted")
    status = board.status()
    assert (status.state, status.in_flight, status.ended) == ("interrupted", (), True)


def test_an_error_is_told_without_secrets(board: StatusBoard):
    board.ended("error", "StorageError: http://key:secret@host refused")
    assert board.status().message == "StorageError: http://***@host refused"


def test_the_speed_is_that_of_the_last_five_minutes(clock: Clock):
    rate = Rate(clock)
    rate.start()
    for _ in range(600):
        clock.now += 1
        rate.add()
    assert rate.per_minute() == pytest.approx(60.0, rel=0.01)
    clock.now += 150
    assert rate.per_minute() == pytest.approx(30.0, rel=0.02)
    clock.now += 300
    assert rate.per_minute() is None


def test_a_million_clips_do_not_fill_the_memory(clock: Clock):
    rate = Rate(clock)
    for _ in range(100_000):
        clock.now += 0.01
        rate.add()
    rate.per_minute()
    assert len(rate._counts) <= 302


def test_there_is_no_status(storage: LocalStorage):
    assert read_status(storage) is None


def test_a_later_version_may_say_more_but_not_change_the_schema(
    board: StatusBoard, storage: LocalStorage
):
    text = board.status().to_json().decode()
    storage.put(STATUS_KEY, text.replace('"schema": 1', '"schema": 1, "more": {}').encode())
    assert read_status(storage) is not None
    storage.put(STATUS_KEY, text.replace('"schema": 1', '"schema": 2').encode())
    with pytest.raises(StorageError, match=r"status.json: got schema"):
        read_status(storage)
