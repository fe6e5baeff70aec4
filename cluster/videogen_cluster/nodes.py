"""The machines of a cluster: which there are, which are leaving, which have gone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RaySystemError


@dataclass(frozen=True, slots=True)
class Node:
    """One machine that is up.

    `leaves_in_s` is None unless it was told to go: then the seconds it has, or infinity if nobody
    said how many.
    """

    id: str
    name: str
    cpus: float = 0.0
    gpus: float = 0.0
    leaves_in_s: float | None = None


def read_nodes() -> list[Node]:
    """The machines that are up, as Ray knows them now."""
    leaving = _leaving()
    return [_node(entry, leaving) for entry in ray.nodes() if entry["Alive"]]


@dataclass(frozen=True, slots=True)
class Change:
    """What has happened to a cluster since the last look."""

    joined: tuple[Node, ...]
    left: tuple[Node, ...]


class Watch:
    """Remembers the machines, and says who came and who went."""

    def __init__(self) -> None:
        self.nodes: tuple[Node, ...] = ()

    def update(self, nodes: Sequence[Node]) -> Change:
        """Take the latest look for the truth."""
        before = {node.id: node for node in self.nodes}
        after = {node.id: node for node in nodes}
        self.nodes = tuple(nodes)
        return Change(
            tuple(node for node in nodes if node.id not in before),
            tuple(node for id_, node in before.items() if id_ not in after),
        )

    def name(self, node_id: str) -> str:
        return next((node.name for node in self.nodes if node.id == node_id), node_id[:12])


def _node(entry: dict[str, Any], leaving: dict[str, float]) -> Node:
    resources = entry.get("Resources", {})
    return Node(
        id=entry["NodeID"],
        name=entry.get("NodeManagerHostname") or entry.get("NodeManagerAddress", ""),
        cpus=float(resources.get("CPU", 0.0)),
        gpus=float(resources.get("GPU", 0.0)),
        leaves_in_s=leaving.get(entry["NodeID"]),
    )


def _leaving() -> dict[str, float]:
    """Node id -> seconds left, of the nodes that a cloud or an autoscaler takes away.

    Ray has this in a private place only, which its client cannot reach; where it is not to be
    found, nothing is known in advance and a node that goes is a node lost.
    """
    try:
        deadlines = ray._private.state.state.get_draining_nodes()  # pyright: ignore
    except (AttributeError, RaySystemError):
        return {}
    now_ms = time.time() * 1000
    return {
        node: (deadline - now_ms) / 1000 if deadline else float("inf")
        for node, deadline in deadlines.items()
    }
