"""What listens to a run gets everything, and each writes its part."""

from __future__ import annotations

import inspect
import io
from typing import Any

import pytest
from rich.console import Console

from videogen.errors import StorageError
from videogen.storage import LocalStorage
from videogen_cluster.failures import ErrorClass, Failure
from videogen_cluster.listener import Listener, Snapshot
from videogen_cluster.scheduler import Completed, DeadLettered, Requeued
from videogen_pipelines.cost import GpuMeter
from videogen_pipelines.events import EventLog
from videogen_pipelines.metrics_listener import MetricsListener
from videogen_pipelines.progress import Progress
from videogen_pipelines.run_listener import (
    EventListener,
    LedgerListener,
    RunListener,
    ScreenListener,
)

FAILURE = Failure(ErrorClass.HANG, "silent at http://u:p@h", node="n1", detected_s=61.5)
STOPPING = Snapshot(0, 0, 1, 1, (), stopping=True)


class Noting(Listener):
    """Notes every call, whatever the listener can hear."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, tuple[Any, ...]]] = []

    def __getattribute__(self, name: str) -> Any:
        if name in MESSAGES:
            return lambda *arguments: self.heard.append((name, arguments))
        return super().__getattribute__(name)


MESSAGES = sorted(
    name
    for name, _ in inspect.getmembers(Listener, inspect.isfunction)
    if not name.startswith("_") and name != "wants_stop"
)


@pytest.mark.parametrize("name", MESSAGES)
def test_every_message_reaches_every_part(name: str):
    parts = [Noting(), Noting()]
    count = len(inspect.signature(getattr(Listener, name)).parameters) - 1
    arguments = tuple(f"argument {number}" for number in range(count))
    getattr(RunListener(parts), name)(*arguments)
    assert [part.heard for part in parts] == [[(name, arguments)]] * 2


def test_what_the_ledger_cannot_write_ends_the_run():
    class Full(Listener):
        def completed(self, decision: Completed) -> None:
            raise StorageError("no space")

    after = Noting()
    with pytest.raises(StorageError):
        RunListener([Full(), after]).completed(Completed("a", 1, {}))
    assert after.heard == []


def test_the_run_stops_when_it_is_told_to():
    assert not RunListener([]).wants_stop()
    assert RunListener([], lambda: True).wants_stop()


class Run:
    """A run directory that remembers."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.failed: list[Any] = []

    def record_done(self, record: Any) -> None:
        self.done.append(record)

    def record_failure(self, *values: Any) -> None:
        self.failed.append(values)


def test_the_ledger_gets_records_and_failures_without_secrets():
    run = Run()
    ledger = LedgerListener(run)
    ledger.completed(Completed("a", 1, {"id": "a"}))
    ledger.dead_lettered(DeadLettered("b", 3, FAILURE))
    assert run.done == [{"id": "a"}]
    assert run.failed == [("b", "hang", "silent at http://***@h", 3)]
    assert (ledger.done, ledger.failed) == (1, 1)


def test_the_diary_of_a_run(storage: LocalStorage):
    events = EventLog(storage, 1)
    diary = EventListener(events)
    diary.node_joined("ab12", "n1")
    diary.gang_building(0)
    diary.gang_ready(0)
    diary.completed(Completed("a", 2, {"gang": "gang-0", "node": "n1", "gpu_s": 4.5, "bytes": 9}))
    diary.requeued(Requeued("b", 1, FAILURE, 0.0, started=True))
    diary.dead_lettered(DeadLettered("b", 3, FAILURE))
    diary.gang_lost(0, FAILURE)
    diary.gang_retired(0, "too often")
    diary.progress(STOPPING)
    diary.progress(STOPPING)
    diary.node_left("ab12", "n1")
    said = [{k: v for k, v in event.items() if k != "at"} for event in events.recent()]
    failed = {"error_class": "hang", "message": "silent at http://***@h"}
    assert said == [
        {"event": "node_joined", "node": "n1", "node_id": "ab12"},
        {"event": "gang_building", "gang": "gang-0"},
        {"event": "gang_ready", "gang": "gang-0"},
        {
            "event": "clip_done",
            "id": "a",
            "attempts": 2,
            "gang": "gang-0",
            "node": "n1",
            "gpu_s": 4.5,
        },
        {"event": "clip_again", "id": "b", "attempts": 1, "redone": True, **failed},
        {"event": "clip_failed", "id": "b", "attempts": 3, **failed},
        {"event": "gang_lost", "gang": "gang-0", **failed, "node": "n1", "detected_s": 61.5},
        {"event": "gang_retired", "gang": "gang-0", "message": "too often"},
        {"event": "draining", "gangs": 1},
        {"event": "node_left", "node": "n1", "node_id": "ab12"},
    ]


def test_the_screen_names_what_failed_and_says_once_that_it_stops():
    text = io.StringIO()
    screen = ScreenListener(Progress(2, Console(file=text, width=200)))
    screen.requeued(Requeued("a", 1, FAILURE, 0.0))
    screen.requeued(Requeued("b", 0, Failure(ErrorClass.CANCELLED, "not started"), 0.0))
    screen.dead_lettered(DeadLettered("a", 3, FAILURE))
    screen.progress(STOPPING)
    screen.progress(STOPPING)
    assert text.getvalue().splitlines() == [
        "again a: hang",
        "failed a after 3 attempts: hang: silent at http://***@h",
        "stopping: clips in flight may finish; once more to stop at once",
    ]


class Metrics:
    """Remembers what Prometheus would be told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *values: self.told.append((name, *values))


def test_metrics_get_stages_bytes_and_only_what_is_new(storage: LocalStorage):
    metrics, meter = Metrics(), GpuMeter(gpu_s=100.0, lost_gpu_s=7.0)
    listener = MetricsListener(metrics, storage, meter)
    record = {"bytes": 900, "denoise_s": 3.0, "decode_s": 1.0, "gpu_s": 4.0}
    record |= {"parallel": {"bytes": {"seq": 640}, "seconds": {"seq": 0.5}}}
    for part in (meter, listener):
        part.completed(Completed("a", 1, record))
    listener.dead_lettered(DeadLettered("b", 3, FAILURE))
    storage.counters.add("503", 2)
    listener.progress(STOPPING)
    listener.progress(STOPPING)
    told = metrics.told
    assert told[:6] == [
        ("clip", "done"),
        ("clip_bytes", 900),
        ("stage", "denoise", 3.0),
        ("stage", "decode", 1.0),
        ("collectives", {"seq": 640}, {"seq": 0.5}),
        ("clip", "failed"),
    ]
    assert [entry[2] for entry in told if entry[:2] == ("gpu_seconds", "useful")] == [4.0, 0.0]
    assert [entry[2] for entry in told if entry[:2] == ("gpu_seconds", "lost")] == [0.0, 0.0]
    replies = [entry[1] for entry in told if entry[0] == "storage_replies"]
    assert (replies[0]["503"], replies[1].get("503", 0)) == (2, 0)
