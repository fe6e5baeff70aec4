"""Which gangs a run should have: follows the machines that join and leave."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from videogen_cluster.nodes import Node
from videogen_cluster.placement import GangShape, Layout


@dataclass(frozen=True, slots=True)
class FleetChange:
    """Gangs to add, and gangs that there is no room for any more."""

    added: tuple[GangShape, ...] = ()
    retired: tuple[int, ...] = ()


class Fleet:
    """Compares the gangs there are with those that the machines can hold. Pure bookkeeping.

    A gang that works is never taken away: if its machine goes, it is lost, and only then, while
    it waits for room that does not exist, is it one too many.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._shapes: dict[int, GangShape] = {}

    def __len__(self) -> int:
        return len(self._shapes)

    def shape(self, gang: int) -> GangShape:
        return self._shapes[gang]

    def plan(self, nodes: Sequence[Node], working: Collection[int]) -> FleetChange:
        """What to change now that these machines are there.

        Args:
            working: the gangs that have their resources.
        """
        if self._layout.is_fixed and self._shapes:
            return FleetChange()
        wanted = self._layout.shapes(nodes)
        if wanted and self._layout.use_gpus is None:
            # Once for all: clips made on CPUs and on GPUs would differ in their last bits.
            self._layout = replace(self._layout, use_gpus=wanted[0].rank.gpus > 0)
        tied = {shape.node_id: shape for shape in wanted if shape.node_id is not None}
        loose = [shape for shape in wanted if shape.node_id is None]
        held = {gang: shape.node_id for gang, shape in self._shapes.items()}
        free = [gang for gang, node in held.items() if node is None]
        idle = [gang for gang in reversed(free) if gang not in working]
        surplus = idle[: max(0, len(free) - len(loose))]
        homeless = [
            gang
            for gang, node in held.items()
            if node is not None and node not in tied and gang not in working
        ]
        added = [shape for node, shape in tied.items() if node not in held.values()]
        return FleetChange(tuple(added + loose[len(free) :]), tuple(surplus + homeless))

    def add(self, gang: int, shape: GangShape) -> None:
        self._shapes[gang] = shape

    def remove(self, gang: int) -> None:
        del self._shapes[gang]
