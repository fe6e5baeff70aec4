"""Ray's list of nodes becomes machines that come, leave and go."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.exceptions import RaySystemError

from videogen_cluster.nodes import Node, Watch, read_nodes

UP = {
    "NodeID": "n1",
    "NodeManagerHostname": "host",
    "Alive": True,
    "Resources": {"CPU": 4.0, "GPU": 1.0},
}


def ray_with(monkeypatch: pytest.MonkeyPatch, nodes: list[dict[str, Any]], state: Any) -> None:
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    monkeypatch.setattr("ray._private.state.state", state)


def test_machines_that_are_up_are_read(monkeypatch: pytest.MonkeyPatch):
    dead = {**UP, "NodeID": "n2", "Alive": False}
    head = {"NodeID": "n3", "NodeManagerAddress": "10.0.0.1", "Alive": True, "Resources": {}}
    ray_with(monkeypatch, [UP, dead, head], SimpleNamespace(get_draining_nodes=dict))
    assert read_nodes() == [Node("n1", "host", 4.0, 1.0), Node("n3", "10.0.0.1")]


def test_a_machine_that_will_leave_says_when(monkeypatch: pytest.MonkeyPatch):
    deadlines = {"n1": (time.time() + 60) * 1000, "n2": 0}
    state = SimpleNamespace(get_draining_nodes=lambda: deadlines)
    ray_with(monkeypatch, [UP, {**UP, "NodeID": "n2"}], state)
    soon, whenever = (node.leaves_in_s for node in read_nodes())
    assert soon == pytest.approx(60, abs=5)
    assert whenever == float("inf")


def test_a_ray_that_does_not_know_who_leaves_is_no_error(monkeypatch: pytest.MonkeyPatch):
    def refuse() -> None:
        raise RaySystemError("Ray has not been started yet.")

    for state in (SimpleNamespace(), SimpleNamespace(get_draining_nodes=refuse)):
        ray_with(monkeypatch, [UP], state)
        assert read_nodes()[0].leaves_in_s is None


def test_a_watch_tells_who_came_and_who_went():
    watch = Watch()
    a, b = Node("a", "host-a"), Node("b", "host-b")
    assert watch.update([a]).joined == (a,)
    change = watch.update([b])
    assert (change.joined, change.left) == ((b,), (a,))
    assert watch.update([b]).joined == ()
    assert watch.name("b") == "host-b"
    assert watch.name("0123456789abcdef") == "0123456789ab"
