"""The engine on a real local Ray: whatever the ranks do, every item ends once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.util import placement_group_table

from videogen_cluster.driver import Driver, EngineOptions, EngineReport
from videogen_cluster.failures import ErrorClass, Failure
from videogen_cluster.limits import Limits
from videogen_cluster.listener import Listener, Snapshot
from videogen_cluster.placement import Layout
from videogen_cluster.scheduler import Completed, DeadLettered, Requeued
from videogen_cluster.session import Cluster, ClusterError

pytestmark = pytest.mark.cluster

Payload = Mapping[str, Any]


class Notes(Listener):
    """Remembers everything it hears."""

    def __init__(self) -> None:
        self.done: dict[str, Completed] = {}
        self.dead: dict[str, DeadLettered] = {}
        self.retries: list[Requeued] = []
        self.losses: list[Failure] = []
        self.snapshots: list[Snapshot] = []

    def completed(self, decision: Completed) -> None:
        assert decision.item_id not in self.done
        self.done[decision.item_id] = decision

    def dead_lettered(self, decision: DeadLettered) -> None:
        assert decision.item_id not in self.dead
        self.dead[decision.item_id] = decision

    def requeued(self, decision: Requeued) -> None:
        self.retries.append(decision)

    def gang_lost(self, gang: int, failure: Failure) -> None:
        self.losses.append(failure)

    def progress(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)


Runner = Callable[..., tuple[EngineReport, Notes]]


@pytest.fixture
def run(cluster: Cluster, toy: Callable[..., Any]) -> Runner:
    """Run items of a toy workload and check that nothing of it is left afterwards."""

    def running(
        items: Mapping[str, Payload],
        *,
        gangs: int = 1,
        world_size: int = 1,
        stop_after_s: float | None = None,
        workload: Mapping[str, Any] | None = None,
        limits: Limits | None = None,
        **options: float,
    ) -> tuple[EngineReport, Notes]:
        notes = Notes()
        layout = Layout(world_size, gangs, cpus_per_rank=1.0)
        engine_options = EngineOptions(limits or Limits(), **{"poll_s": 0.2, **options})
        driver = Driver(toy(**(workload or {})), layout, cluster, engine_options, notes)
        if stop_after_s is not None:
            threading.Timer(stop_after_s, driver.stop).start()
        try:
            return driver.run(items.items()), notes
        finally:
            expect_nothing_left(cluster)

    return running


def expect_nothing_left(cluster: Cluster) -> None:
    deadline = time.monotonic() + 20
    while True:
        groups = {entry["state"] for entry in placement_group_table().values()}
        free = ray.available_resources().get("CPU", 0.0)
        if groups <= {"REMOVED"} and free == cluster.cpus:
            return
        assert time.monotonic() < deadline, f"left: groups {groups}, {free} of {cluster.cpus} CPUs"
        time.sleep(0.1)


def starts(folder: Path, item_id: str, rank: int = 0) -> list[int]:
    """The process ids in which an item was started, in order."""
    return [int(line) for line in (folder / f"{item_id}.{rank}").read_text().split()]


def test_every_item_is_done_once(run: Runner, tmp_path: Path):
    items = {f"clip-{index}": {} for index in range(20)}
    report, notes = run(items, gangs=2)
    assert set(notes.done) == set(items)
    assert (report.completed, report.dead_lettered, report.gangs_lost) == (20, 0, 0)
    assert not report.interrupted
    assert all(len(starts(tmp_path, item)) == 1 for item in items)
    assert {starts(tmp_path, item)[0] for item in items} == {
        decision.record["pid"] for decision in notes.done.values()
    }


def test_the_next_item_computes_while_the_last_one_finishes(run: Runner):
    items = {f"clip-{index}": {"steps": 1, "step_s": 0.3, "finish_s": 0.2} for index in range(4)}
    _, notes = run(items)
    records = [notes.done[item].record for item in items]
    for former, latter in pairwise(records):
        assert former["computing"][1] <= latter["computing"][0], "two items computed at once"
        assert latter["computing"][0] < former["finishing"][1], "the device waited for a finish"


def test_an_item_that_fails_is_tried_again_and_then_named(run: Runner, tmp_path: Path):
    items = {"flaky": {"error": 2}, "broken": {"error": 9}, "leaving": {"exit": 1}, "good": {}}
    report, notes = run(items, limits=Limits(max_failures_in_a_row=9))
    assert set(notes.done) == {"flaky", "leaving", "good"}
    assert notes.done["flaky"].attempts == 3
    assert notes.dead["broken"].attempts == 3
    failure = notes.dead["broken"].failure
    assert failure.error_class is ErrorClass.UNEXPECTED
    assert failure.message == "ValueError: start 3 fails"
    assert failure.traceback.endswith("ValueError: start 3 fails")
    assert report.gangs_lost == 0
    pids = {pid for item in items for pid in starts(tmp_path, item)}
    assert len(pids) == 1, "an exception must not cost the rank its life"


def test_a_gang_that_fails_all_it_is_given_gets_a_new_process(run: Runner):
    items = {f"clip-{index}": {} for index in range(6)}
    report, notes = run(items, workload={"num_sick": 1})
    assert set(notes.done) == set(items)
    assert report.gangs_lost == 1
    assert notes.losses[0].message == (
        "failed one item after the other, the last one with unexpected: "
        "ValueError: no kernel can be launched"
    )


def test_running_out_of_memory_degrades_the_next_attempt(run: Runner):
    _, notes = run({"big": {"memory": 2}})
    assert notes.done["big"].record["degrade"] == 2


def test_a_killed_rank_is_replaced_and_its_item_made_by_the_new_gang(run: Runner, tmp_path: Path):
    items = {"first": {}, "victim": {"die": 1}, "last": {}}
    report, notes = run(items)
    assert set(notes.done) == set(items)
    assert report.gangs_lost == 1
    assert notes.losses[0].error_class is ErrorClass.RANK_DEATH
    before, after = starts(tmp_path, "victim")
    assert before != after
    assert notes.done["victim"].record["pid"] == after


def test_a_poison_item_ends_in_the_dead_letter_and_takes_nobody_with_it(
    run: Runner, tmp_path: Path
):
    items = {"a": {}, "poison": {"die": 99}, "b": {}, "c": {}}
    _, notes = run(items)
    assert set(notes.done) == {"a", "b", "c"}
    assert notes.dead["poison"].failure.error_class is ErrorClass.RANK_DEATH
    assert len(starts(tmp_path, "poison")) == 3


@pytest.mark.parametrize("how", ["freeze", "stall"])
def test_a_silent_gang_is_killed(run: Runner, tmp_path: Path, how: str):
    began = time.monotonic()
    report, notes = run({"a": {}, "silent": {how: 1}, "b": {}}, hang_timeout_s=3.0)
    assert set(notes.done) == {"a", "silent", "b"}
    assert [loss.error_class for loss in notes.losses] == [ErrorClass.HANG]
    assert report.elapsed_s >= 3.0
    assert time.monotonic() - began < 90
    assert len(starts(tmp_path, "silent")) == 2


def test_slow_steps_are_no_silence(run: Runner):
    report, _ = run({"slow": {"steps": 5, "step_s": 1.5}}, hang_timeout_s=4.0)
    assert (report.completed, report.gangs_lost) == (1, 0)


def test_one_dead_rank_ends_its_whole_gang(run: Runner, tmp_path: Path):
    items = {"a": {}, "victim": {"die": 1, "steps": 5}, "b": {}}
    report, notes = run(items, world_size=2)
    assert set(notes.done) == set(items)
    assert report.gangs_lost == 1
    for rank in (0, 1):
        before, after = starts(tmp_path, "victim", rank)
        assert before != after


def test_one_failing_rank_rebuilds_a_gang_of_several(run: Runner, tmp_path: Path):
    report, notes = run({"a": {"error": 1}, "b": {}}, world_size=2)
    assert set(notes.done) == {"a", "b"}
    assert notes.done["a"].attempts == 2
    assert report.gangs_lost == 1


def test_a_gang_that_cannot_start_ends_the_run_with_the_reason(run: Runner):
    with pytest.raises(ClusterError, match="no such weights"):
        run({"a": {}}, workload={"fail_setup": True}, limits=Limits(max_setup_failures=2))


def test_stopping_finishes_what_runs_and_starts_nothing(run: Runner, tmp_path: Path):
    items = {f"clip-{index}": {"steps": 10, "step_s": 0.1} for index in range(200)}
    report, notes = run(items, stop_after_s=8.0, grace_s=20.0)
    assert report.interrupted
    started = {path.stem for path in tmp_path.glob("clip-*") if path.suffix != ".met"}
    assert set(notes.done) == started
    assert len(started) < 200
    assert not notes.dead


def test_stopping_does_not_wait_longer_than_the_grace_period(run: Runner):
    began = time.monotonic()
    report, notes = run({"long": {"steps": 600, "step_s": 1.0}}, stop_after_s=6.0, grace_s=1.0)
    assert report.interrupted
    assert time.monotonic() - began < 40
    assert not notes.done


def test_progress_names_the_item_and_its_step(run: Runner):
    _, notes = run({"clip": {"steps": 8, "step_s": 0.25}})
    seen = {
        (activity.item_id, activity.stage, activity.step, activity.total)
        for snapshot in notes.snapshots
        for activity in snapshot.activities
    }
    assert len(seen & {("clip", "denoise", step, 8) for step in range(8)}) >= 3
    assert notes.snapshots[-1].completed == 1


def test_a_listener_that_fails_ends_the_run_and_frees_everything(
    cluster: Cluster, toy: Callable[..., Any]
):
    class Broken(Listener):
        def completed(self, decision: Completed) -> None:
            raise OSError("disk full")

    layout = Layout(1, 1, cpus_per_rank=1.0)
    driver = Driver(toy(), layout, cluster, EngineOptions(), Broken())
    with pytest.raises(OSError, match="disk full"):
        driver.run({"a": {}, "b": {"steps": 100, "step_s": 1}}.items())
    expect_nothing_left(cluster)


def test_items_are_read_only_as_they_are_needed(cluster: Cluster, toy: Callable[..., Any]):
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield f"clip-{read}", {}

    notes = Notes()
    layout = Layout(1, 1, cpus_per_rank=1.0)
    limits = Limits(queue_capacity=4)
    driver = Driver(toy(), layout, cluster, EngineOptions(limits), notes)
    notes.gang_ready = lambda gang: threading.Timer(2.0, driver.stop).start()
    driver.run(endless())
    assert read <= len(notes.done) + 4 + 2
