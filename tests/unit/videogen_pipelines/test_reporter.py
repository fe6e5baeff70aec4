"""The thread between a run and its storage: it reports, it listens, it never breaks the run."""

from __future__ import annotations

import time

import pytest

from videogen.errors import StorageError
from videogen.storage import LocalStorage
from videogen_pipelines.control import ask_stop
from videogen_pipelines.cost import GpuMeter
from videogen_pipelines.events import EventLog, read_events
from videogen_pipelines.reporter import Reporter
from videogen_pipelines.status import read_status
from videogen_pipelines.status_board import RunFacts, StatusBoard


class Full(LocalStorage):
    """Takes nothing."""

    def put(self, *args, **kwargs) -> None:
        raise StorageError("no space")

    def create(self, *args, **kwargs) -> bool:
        raise StorageError("no space")


def reporter(storage: LocalStorage, invocation: int = 1, ours: bool = True) -> Reporter:
    events = EventLog(storage, invocation)
    board = StatusBoard(RunFacts(invocation), GpuMeter(), events)
    return Reporter(storage, invocation, board, events, lambda: ours, write_s=0.02, listen_s=0.01)


def wait_for(happened) -> None:
    deadline = time.monotonic() + 5
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_run_reports_while_it_goes_on_and_how_it_ended(storage: LocalStorage):
    with reporter(storage) as running:
        wait_for(lambda: read_status(storage) is not None)
        first = read_status(storage)
        wait_for(lambda: read_status(storage).updated_at > first.updated_at)
        assert first.state == "starting"
        running.ended("some_failed")
    assert read_status(storage).state == "some_failed"
    (ended,) = [event for event in read_events(storage) if event["event"] == "run_ended"]
    assert ended["state"] == "some_failed"


@pytest.mark.parametrize(
    ("error", "state", "message"),
    [
        (StorageError("disk on fire"), "error", "StorageError: disk on fire"),
        (KeyboardInterrupt(), "interrupted", "stopped at once; the same command continues"),
    ],
)
def test_a_run_that_breaks_says_so(
    storage: LocalStorage, error: BaseException, state: str, message: str
):
    with pytest.raises(type(error)), reporter(storage):
        raise error
    status = read_status(storage)
    assert (status.state, status.message) == (state, message)


def test_an_order_to_this_invocation_is_heard(storage: LocalStorage):
    with reporter(storage, 2) as running:
        ask_stop(storage, 1)
        time.sleep(0.1)
        assert not running.stop_asked
        asked = ask_stop(storage, 2)
        wait_for(lambda: running.stop_asked)
    assert read_status(storage).told == asked
    assert [e["by"] for e in read_events(storage) if e["event"] == "stop_asked"] == [asked.by]


def test_a_store_that_takes_nothing_does_not_end_the_run_and_is_named_once(
    storage: LocalStorage, caplog: pytest.LogCaptureFixture
):
    with reporter(Full(storage.root)):
        time.sleep(0.2)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert said[0].startswith("writing the event log failed") or said[0].startswith(
        "writing the st"
    )


def test_whoever_lost_the_lock_writes_no_status(storage: LocalStorage):
    with reporter(storage, ours=False):
        time.sleep(0.1)
    assert read_status(storage) is None
