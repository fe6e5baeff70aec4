"""The resources of one gang on Ray: a placement group, all of it or nothing."""

from __future__ import annotations

from typing import Any

from ray.util.placement_group import (
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from videogen_cluster.placement import GangShape

_NODE_LABEL = "ray.io/node-id"


class Reservation:
    """Waits for its resources without holding any, then keeps them until `remove`."""

    def __init__(self, shape: GangShape, name: str) -> None:
        bundle = {"CPU": shape.rank.cpus}
        if shape.rank.gpus:
            bundle["GPU"] = shape.rank.gpus
        labels: dict[str, Any] = {}
        if shape.node_id is not None:
            labels["bundle_label_selector"] = [{_NODE_LABEL: shape.node_id}] * shape.world_size
        self._group = placement_group(
            [bundle] * shape.world_size, strategy=shape.strategy, name=name, **labels
        )

    def nodes(self) -> tuple[str, ...]:
        """The ids of the machines it lies on, rank by rank; none while it waits for room."""
        entry = placement_group_table(self._group)
        if entry.get("state") != "CREATED":
            return ()
        found: dict[int, str] = entry["bundles_to_node_id"]
        return tuple(found[rank] for rank in sorted(found))

    def strategy(self, rank: int) -> PlacementGroupSchedulingStrategy:
        """Puts an actor into this rank's share."""
        return PlacementGroupSchedulingStrategy(
            placement_group=self._group,
            placement_group_bundle_index=rank,
            placement_group_capture_child_tasks=False,
        )

    def remove(self) -> None:
        """Free the resources; everything that still runs in them dies."""
        remove_placement_group(self._group)
