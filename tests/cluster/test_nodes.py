"""Machines and ranks of a cluster die, hang, join and leave; every item still ends once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.ray_nodes import RayNodes

# Ranks are to be ready, lost or replaced while a run goes on: its length is chosen for that.
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.chaos,
    pytest.mark.alone,
    pytest.mark.timeout(240),
]

ROOT = Path(__file__).parents[2]
SECOND = {"steps": 10, "step_s": 0.1}  # an item that takes a second


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    """A head without CPUs and two machines of one CPU each."""
    found = RayNodes(2, num_cpus=1, env={"OMP_NUM_THREADS": "1", "PYTHONPATH": import_path()})
    yield found
    found.close()


def import_path() -> str:
    return os.pathsep.join(str(path) for path in (ROOT, ROOT / "cluster", ROOT / "pipelines"))


class ToyRun:
    """A driver in a process of its own, and what it has said."""

    def __init__(self, address: str, folder: Path, **settings: Any) -> None:
        self._path = folder / "said.jsonl"
        command = [sys.executable, "-P", "-m", "tests.cluster.toy_run", address, str(folder)]
        with self._path.open("wb") as out, (folder / "err").open("wb") as err:
            self.process = subprocess.Popen(
                [*command, json.dumps(settings)],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": import_path()},
                stdout=out,
                stderr=err,
            )
        self._errors = folder / "err"

    def said(self, event: str) -> list[dict[str, Any]]:
        lines = self._path.read_text().splitlines()
        found = [json.loads(line) for line in lines if line.endswith("}")]
        return [entry for entry in found if entry["event"] == event]

    def wait_until(self, is_so: Callable[[], Any], timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_so():
            assert self.process.poll() is None, self._errors.read_text()[-3000:]
            assert time.monotonic() < deadline, self._path.read_text()[-3000:]
            time.sleep(0.02)

    def end(self, timeout_s: float = 120.0) -> dict[str, Any]:
        assert self.process.wait(timeout_s) == 0, self._errors.read_text()[-3000:]
        return self.said("end")[0]


@pytest.fixture
def start(nodes: RayNodes, tmp_path: Path) -> Iterator[Callable[..., ToyRun]]:
    runs: list[ToyRun] = []

    def starting(**settings: Any) -> ToyRun:
        runs.append(ToyRun(nodes.address, tmp_path, **settings))
        return runs[-1]

    yield starting
    for run in runs:
        run.process.kill()
        run.process.wait()
    expect_nothing_left(nodes)


def expect_nothing_left(nodes: RayNodes, timeout_s: float = 30.0) -> float:
    """Wait until Ray has neither groups, actors nor rank processes; returns how long it took."""
    began = time.monotonic()
    while (left := [*nodes.leaks().values(), nodes.ranks()]) != [[], [], []]:
        assert time.monotonic() - began < timeout_s, f"left behind: {left}"
        time.sleep(0.1)
    return time.monotonic() - began


def test_a_rank_that_dies_is_noticed_within_a_second_and_replaced(
    start: Callable[..., ToyRun], nodes: RayNodes
):
    run = start(count=20, payload=SECOND)
    run.wait_until(lambda: len(run.said("completed")) >= 2)
    killed_at = time.time()
    os.kill(nodes.ranks()[0], signal.SIGKILL)
    run.wait_until(lambda: run.said("gang_lost"))
    (loss,) = run.said("gang_lost")
    assert loss["at"] - killed_at < 1.0
    assert loss["error_class"] == "rank_death"
    assert loss["node"] in nodes.nodes
    run.wait_until(lambda: len(run.said("gang_ready")) == 3)
    assert run.said("gang_ready")[-1]["at"] - killed_at < 15.0
    end = run.end()
    assert (end["completed"], end["dead_lettered"], end["gangs_lost"]) == (20, 0, 1)
    assert end["redone"] <= 1


def test_a_rank_that_stops_is_killed_after_the_silence_allowed(
    start: Callable[..., ToyRun], nodes: RayNodes
):
    run = start(count=16, payload=SECOND, options={"hang_timeout_s": 4.0})
    run.wait_until(lambda: len(run.said("completed")) >= 2)
    os.kill(nodes.ranks()[0], signal.SIGSTOP)
    run.wait_until(lambda: run.said("gang_lost"))
    (loss,) = run.said("gang_lost")
    assert loss["error_class"] == "hang"
    assert 4.0 <= loss["detected_s"] < 8.0
    end = run.end()
    assert (end["completed"], end["dead_lettered"]) == (16, 0)
    assert end["redone"] <= 1


def test_gangs_follow_the_machines(start: Callable[..., ToyRun], nodes: RayNodes):
    run = start(count=60, payload=SECOND)
    run.wait_until(lambda: len(run.said("gang_ready")) == 2)
    joined_at = time.time()
    nodes.nodes.append(nodes.add_node())
    run.wait_until(lambda: len(run.said("gang_ready")) == 3)
    assert run.said("gang_ready")[-1]["at"] - joined_at < 20.0

    victim = nodes.nodes.pop(0)
    killed_at = time.time()
    nodes.kill_node(victim)
    run.wait_until(lambda: run.said("gang_lost"))
    (loss,) = run.said("gang_lost")
    assert loss["at"] - killed_at < 30.0
    assert (loss["error_class"], loss["node"]) == ("preemption", victim)
    end = run.end()
    assert (end["completed"], end["dead_lettered"], end["gangs_lost"]) == (60, 0, 1)
    assert len(run.said("gang_retired")) == 1, "a gang waits for a machine that is gone"
    assert {entry["attempts"] for entry in run.said("completed")} == {1}, "node loss was charged"
    assert [entry["node"] for entry in run.said("node_left")] == [victim]


def test_a_fixed_number_of_gangs_waits_for_room_and_is_charged_nothing(
    start: Callable[..., ToyRun], nodes: RayNodes
):
    layout = {"num_gangs": 3, "cpus_per_rank": 1.0}
    run = start(count=36, payload=SECOND, layout=layout, options={"setup_timeout_s": 15.0})
    end = run.end()
    assert run.said("end")[0]["at"] - run.said("gang_building")[0]["at"] > 15.0
    assert (end["completed"], end["gangs_lost"]) == (36, 0)
    assert len(run.said("gang_building")) == 3
    assert len(run.said("gang_ready")) == 2


@pytest.mark.parametrize("is_frozen", [False, True])
def test_a_driver_that_is_killed_leaves_nothing_on_the_cluster(
    start: Callable[..., ToyRun], nodes: RayNodes, is_frozen: bool
):
    run = start(count=100, payload=SECOND)
    run.wait_until(lambda: len(run.said("completed")) >= 2)
    if is_frozen:
        os.kill(nodes.ranks()[0], signal.SIGSTOP)
    run.process.kill()
    run.process.wait()
    assert expect_nothing_left(nodes) < 20.0


def test_a_machine_that_is_to_leave_ends_what_it_has_and_gets_no_more(
    start: Callable[..., ToyRun], nodes: RayNodes
):
    leaving = nodes.add_node()
    run = start(count=30, payload=SECOND)
    run.wait_until(lambda: len(run.said("gang_ready")) == 3)
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node"]
    reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
    where = ["--address", nodes.address, "--node-id", leaving]
    subprocess.run(
        [*command, *where, *reason, "--deadline-remaining-seconds", "60"],
        check=True,
        capture_output=True,
    )
    end = run.end()
    (loss,) = run.said("gang_lost")
    assert (loss["error_class"], loss["node"]) == ("preemption", leaving)
    assert (end["completed"], end["redone"]) == (30, 0)
    assert len(run.said("gang_retired")) == 1
    nodes.kill_node(leaving)


def test_a_driver_that_was_away_holds_it_against_nobody(start: Callable[..., ToyRun]):
    run = start(count=10, payload=SECOND, options={"hang_timeout_s": 3.0})
    run.wait_until(lambda: run.said("completed"))
    os.kill(run.process.pid, signal.SIGSTOP)
    time.sleep(5.0)
    os.kill(run.process.pid, signal.SIGCONT)
    end = run.end()
    assert (end["completed"], end["gangs_lost"]) == (10, 0)
