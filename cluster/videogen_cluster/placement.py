"""Where gangs run: the resources of one gang, and how a cluster is divided into gangs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from videogen.errors import ConfigError
from videogen_cluster.nodes import Node


@dataclass(frozen=True, slots=True)
class RankResources:
    """What one rank reserves."""

    cpus: float
    gpus: float

    @property
    def num_threads(self) -> int:
        """Threads for computing: whole cores, at least one."""
        return max(1, math.floor(self.cpus))

    @property
    def device(self) -> str:
        return "cuda" if self.gpus else "cpu"


@dataclass(frozen=True, slots=True)
class GangShape:
    """What one gang reserves; `node_id` ties it to one machine.

    Ranks with GPUs are kept close, those without on one machine.
    """

    world_size: int
    rank: RankResources
    node_id: str | None = None

    @property
    def strategy(self) -> str:
        """Ray's name for how the bundles of its placement group lie."""
        return "PACK" if self.rank.gpus else "STRICT_PACK"


@dataclass(frozen=True, slots=True)
class Layout:
    """How a run divides a cluster, whatever machines it has.

    With GPUs every rank gets one, and there are as many gangs as fit. Without, every machine holds
    one gang with all its cores, because copies of a model on one CPU share its memory bandwidth.

    Attributes:
        world_size: ranks of a gang.
        num_gangs: None for as many as fit, more or fewer as machines join and leave.
        cpus_per_rank: None for an equal share of a machine.
        use_gpus: False leaves GPUs alone, True waits for some, None takes them if there are any.
    """

    world_size: int = 1
    num_gangs: int | None = None
    cpus_per_rank: float | None = None
    use_gpus: bool | None = None

    @property
    def is_fixed(self) -> bool:
        """Whether the number of gangs is a person's word."""
        return self.num_gangs is not None

    def shapes(self, nodes: Sequence[Node]) -> list[GangShape]:
        """The gangs that `nodes` can hold; none while there is nothing to divide.

        Raises:
            ConfigError: `cpus_per_rank` is no share of any machine.
        """
        staying = [node for node in nodes if node.leaves_in_s is None]
        with_gpus = [node for node in staying if node.gpus >= 1]
        if self.use_gpus or (self.use_gpus is None and with_gpus):
            return self._on_gpus(with_gpus)
        with_cpus = [node for node in staying if node.cpus > 0]
        if self.num_gangs is None:
            return [self._whole(node) for node in with_cpus]
        return self._shared(with_cpus, self.num_gangs) if with_cpus else []

    def check(self, nodes: Sequence[Node]) -> None:
        """Refuse what machines that will never be more can never hold.

        Raises:
            ConfigError: names the setting, what it asks for and what there is.
        """
        shapes = self.shapes(nodes)
        gpus, cpus = sum(node.gpus for node in nodes), sum(node.cpus for node in nodes)
        num_ranks = sum(shape.world_size for shape in shapes)
        if any(shape.rank.gpus for shape in shapes) and num_ranks > gpus:
            raise ConfigError(
                f"cluster.gangs: got {len(shapes)} gangs of {self.world_size} ranks, expected at "
                f"most {int(gpus)} ranks, one for each GPU. Fix: lower cluster.gangs or "
                "cluster.gang's degrees, or set model.device=cpu."
            )
        needed = sum(shape.world_size * shape.rank.cpus for shape in shapes)
        if not shapes or needed > cpus + 1e-9:
            asked = shapes[0].rank.cpus if shapes else self.cpus_per_rank or 0.0
            raise ConfigError(
                f"cluster.cpus_per_rank: got {asked:g} for {num_ranks} ranks, "
                f"expected at most {cpus:g} CPUs in all. Fix: lower cluster.gangs or "
                "cluster.cpus_per_rank."
            )

    def _on_gpus(self, nodes: Sequence[Node]) -> list[GangShape]:
        # With no GPU yet, one gang asks for some: an autoscaler adds machines for it.
        share = min((node.cpus / math.floor(node.gpus) for node in nodes), default=1.0)
        gpus = sum(math.floor(node.gpus) for node in nodes)
        fitting = max(1, gpus // self.world_size)
        count = fitting if self.num_gangs is None else self.num_gangs
        rank = RankResources(self._cpus(share), 1.0)
        return [GangShape(self.world_size, rank)] * count

    def _whole(self, node: Node) -> GangShape:
        rank = RankResources(self._cpus(node.cpus / self.world_size), 0.0)
        return GangShape(self.world_size, rank, node.id)

    def _shared(self, nodes: Sequence[Node], count: int) -> list[GangShape]:
        per_node = math.ceil(count / len(nodes)) * self.world_size
        share = min(node.cpus for node in nodes) / per_node
        rank = RankResources(self._cpus(share), 0.0)
        return [GangShape(self.world_size, rank)] * count

    def _cpus(self, share: float) -> float:
        if self.cpus_per_rank is not None:
            return self.cpus_per_rank
        return float(math.floor(share)) if share >= 1 else max(0.01, math.floor(share * 100) / 100)
