"""What a run says of itself in its storage while it goes on, and how it hears orders."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from videogen_cluster.failures import ErrorClass, Failure
from videogen_cluster.health import Activity
from videogen_cluster.listener import Listener, Snapshot
from videogen_cluster.scheduler import Completed, DeadLettered, Requeued
from videogen_cluster.workload import RankContext
from videogen_pipelines.clip_workload import GenerateWorkload
from videogen_pipelines.config import load_run_config
from videogen_pipelines.control import ask_stop
from videogen_pipelines.engine import Items
from videogen_pipelines.events import read_events
from videogen_pipelines.generate import Outcome, generate
from videogen_pipelines.inputs import PromptInputs
from videogen_pipelines.job import Job, LoadedModel
from videogen_pipelines.keys import meta_key
from videogen_pipelines.status import Status, read_status

FAILURE = Failure(ErrorClass.NON_FINITE, "NaN")


@pytest.fixture
def job(tmp_path: Path, tiny_model: Path) -> Job:
    settings = [f"model.name={tiny_model}", "cluster.price_per_gpu_hour=3600"]
    config = load_run_config(None, settings)
    model = LoadedModel.read(config.model.name)
    prompts = ["a red circle", "red", "circle"]
    inputs = PromptInputs(prompts, model.defaults(config), model.check)
    return Job.check(config, model, inputs, str(tmp_path / "out"))


def run(job: Job, engine: Callable[[Job, Items, Listener], bool]) -> Outcome:
    return generate(job, Console(file=io.StringIO()), engine=engine)


def make(job: Job, item_id: str, payload: Any, listener: Listener, ranks: int = 1) -> None:
    workload = GenerateWorkload(job.settings())
    workload.setup(RankContext(3, 0, ranks, "cpu", 1))
    item = {**payload, "id": item_id, "attempt": 2, "degrade": 0}
    record = workload.compute(item, lambda stage, step, total: None)()
    listener.completed(Completed(item_id, 2, record))


def told(job: Job) -> Status:
    status = read_status(job.storage)
    assert status is not None
    return status


def test_a_run_leaves_its_end_its_diary_and_its_price(job: Job):
    def engine(job: Job, items: Items, listener: Listener) -> bool:
        listener.gang_ready(3)
        (first, payload), (second, other), (third, _) = items
        make(job, first, payload, listener)
        make(job, second, other, listener)
        listener.dead_lettered(DeadLettered(third, 2, FAILURE))
        return False

    outcome = run(job, engine)
    status = told(job)
    assert (status.state, status.rows, status.done, status.failed) == ("some_failed", 3, 2, 1)
    assert (status.pending, status.errors_by_class) == (0, {"non_finite": 1})
    assert status.gpu_s == pytest.approx(outcome.summary.gpu_s)
    assert status.cost == pytest.approx(status.gpu_s)
    assert outcome.summary.cost == pytest.approx(status.gpu_s)
    events = [event["event"] for event in read_events(job.storage)]
    assert events == [
        *("run_started", "planned", "gang_ready"),
        *("clip_done", "clip_done", "clip_failed", "run_ended"),
    ]


def test_a_sidecar_says_what_its_clip_cost(job: Job, tmp_path: Path):
    made = []

    def engine(job: Job, items: Items, listener: Listener) -> bool:
        for number, (item_id, payload) in enumerate(items):
            make(job, item_id, payload, listener, ranks=number + 1)
            made.append(item_id)
        return False

    run(job, engine)
    for number, item_id in enumerate(made):
        sidecar = json.loads((tmp_path / "out" / meta_key(item_id)).read_text())
        spent = sidecar["timings"]["denoise_s"] + sidecar["timings"]["decode_s"]
        assert sidecar["gpu_s"] == pytest.approx((number + 1) * spent)
        assert (sidecar["gang"], sidecar["device"], sidecar["attempts"]) == ("gang-3", "cpu", 2)
        assert sidecar["node"]


def test_an_order_reaches_the_engine_and_the_next_invocation_goes_on(job: Job):
    def waiting(job: Job, items: Items, listener: Listener) -> bool:
        ask_stop(job.storage, 1)
        deadline = time.monotonic() + 10
        while not listener.wants_stop():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return True

    assert run(job, waiting).state == "interrupted"
    status = told(job)
    assert (status.state, status.pending, status.invocation) == ("interrupted", 3, 1)
    assert status.told is not None

    def working(job: Job, items: Items, listener: Listener) -> bool:
        time.sleep(2.5)  # longer than it takes to read the old order
        assert not listener.wants_stop()
        for item_id, payload in items:
            make(job, item_id, payload, listener)
        return False

    assert run(job, working).state == "complete"
    status = told(job)
    assert (status.state, status.invocation, status.told) == ("complete", 2, None)


def test_costs_go_on_counting_over_invocations(job: Job):
    def losing(job: Job, items: Items, listener: Listener) -> bool:
        activity = Activity("x", "denoise", 1, 2, 0.0)
        for _ in range(3):
            listener.progress(Snapshot(0, 0, 1, 1, (activity,), stopping=False))
            time.sleep(0.6)
        listener.requeued(Requeued("x", 1, FAILURE, 0.0))
        return True

    first = run(job, losing)
    lost_s = told(job).lost_gpu_s
    assert 1.0 < lost_s < 2.5
    assert first.summary.lost_gpu_s == pytest.approx(lost_s)

    def working(job: Job, items: Items, listener: Listener) -> bool:
        for item_id, payload in items:
            make(job, item_id, payload, listener)
        return False

    second = run(job, working)
    assert told(job).lost_gpu_s == pytest.approx(lost_s)
    assert second.summary.lost_gpu_s == 0
    assert told(job).cost == pytest.approx(lost_s + second.summary.gpu_s)


def test_a_run_that_breaks_says_how(job: Job):
    def breaking(job: Job, items: Items, listener: Listener) -> bool:
        raise OSError("the network is gone")

    with pytest.raises(OSError, match="gone"):
        run(job, breaking)
    status = told(job)
    assert (status.state, status.message) == ("error", "OSError: the network is gone")
    assert list(read_events(job.storage))[-1]["state"] == "error"
