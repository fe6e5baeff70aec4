"""A Ray cluster of several nodes on this machine, in a process of its own that outlives drivers.

Run as a program it takes one JSON command a line and answers each with one JSON line.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.processes import command_of, descendants
from videogen_cluster.own_node import few_processes

ROOT = Path(__file__).parents[2]
RANK_TITLE = "ray::Rank"


class RayNodes:
    """A head without CPUs and `num_nodes` workers; every node is a raylet that can be killed."""

    def __init__(self, num_nodes: int, num_cpus: float, env: dict[str, str]) -> None:
        # Short, because sockets lie in it, and their names may not exceed 107 bytes.
        self._scratch = tempfile.TemporaryDirectory(
            prefix="vg-nodes-", dir="/tmp", ignore_cleanup_errors=True
        )
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.ray_nodes", str(num_cpus)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Ray would run ranks at a lower priority than whatever else this machine does.
            env={
                **os.environ,
                "RAY_worker_niceness": "0",
                "TMPDIR": self._scratch.name,
                **env,
            },
            text=True,
            start_new_session=True,
        )
        self.address: str = self._answer()["address"]
        self.nodes = [self.add_node() for _ in range(num_nodes)]

    def add_node(self) -> str:
        """Start one more node; returns its id."""
        return self._ask("add")["node"]

    def kill_node(self, node: str) -> None:
        """Kill a node's raylet and everything on it, as a machine that loses its power."""
        self._ask("kill", node=node)

    def remove_node(self, node: str) -> None:
        """Have a node leave in good order, which everybody knows at once."""
        self._ask("remove", node=node)

    def leaks(self) -> dict[str, list[str]]:
        """Placement groups and actors that no job should have left behind."""
        return self._ask("leaks")

    def ranks(self) -> list[int]:
        """Process ids of all ranks that live on this machine's nodes."""
        return [pid for pid in descendants(self._process.pid) if RANK_TITLE in command_of(pid)]

    def close(self) -> None:
        if self._process.poll() is None:
            family = descendants(self._process.pid)
            assert self._process.stdin
            self._process.stdin.close()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
            for pid in family:
                if Path(f"/proc/{pid}").exists():
                    _kill(pid)
        self._scratch.cleanup()

    def _ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the Ray cluster ended"
        return json.loads(line)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 9)


def _serve(num_cpus: float) -> None:
    """The program: keeps the cluster until its input ends."""
    with few_processes():  # nodes start in half the time, and nobody here looks at a dashboard
        _serve_nodes(num_cpus)


def _serve_nodes(num_cpus: float) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever Ray prints is no answer

    import ray
    from ray._private import state
    from ray.cluster_utils import Cluster
    from ray.util import placement_group_table

    cluster = Cluster(
        initialize_head=True,
        connect=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False},
    )
    nodes: dict[str, Any] = {}

    def add() -> dict[str, Any]:
        node = cluster.add_node(num_cpus=num_cpus)
        cluster.wait_for_nodes()
        nodes[node.node_id] = node
        return {"node": node.node_id}

    def kill(node: str) -> dict[str, Any]:
        cluster.remove_node(nodes.pop(node), allow_graceful=False)
        return {}

    def remove(node: str) -> dict[str, Any]:
        cluster.remove_node(nodes.pop(node), allow_graceful=True)
        return {}

    def leaks() -> dict[str, Any]:
        groups = placement_group_table().values()
        actors = state.actors().values()
        return {
            "placement_groups": [g["name"] for g in groups if g["state"] != "REMOVED"],
            "actors": [a["ActorClassName"] for a in actors if a["State"] != "DEAD"],
        }

    commands = {"add": add, "kill": kill, "remove": remove, "leaks": leaks}

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    say({"address": cluster.address})
    for line in sys.stdin:
        asked = json.loads(line)
        say(commands[asked.pop("command")](**asked))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    _serve(float(sys.argv[1]))
