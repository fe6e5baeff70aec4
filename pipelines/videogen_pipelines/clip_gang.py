"""One rank's part in a gang that makes clips together: connected, sharded, and of one mind."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from videogen.errors import VideogenError
from videogen.models.protocol import MakesWholeClips
from videogen_cluster.workload import RankContext
from videogen_pipelines.config import GangSection
from videogen_pipelines.sidecar import Parallel

if TYPE_CHECKING:
    import torch

    from videogen.diffusion.guidance import Halves
    from videogen.generator import VideoGenerator
    from videogen.parallel.apply import Weights
    from videogen.parallel.mesh import Mesh

JOIN_TIMEOUT_S = 60.0
LOAD_TIMEOUT_S = 24 * 3600.0
"""Ranks load their models for as long as the engine lets them."""
COLLECTIVE_TIMEOUT_S = 1800.0
"""The last resort: the engine sees a silent gang, and a dead rank, long before."""
_AXES = ("cfg", "seq", "gang")


@dataclass(frozen=True)
class Sharing:
    """How the ranks of a gang share the work and the weights; the same on all."""

    cfg_degree: int = 1
    seq_degree: int = 1
    ulysses_degree: int | None = None
    weights: Weights = "whole"

    @classmethod
    def of(cls, gang: GangSection) -> Sharing:
        """Read it from a settled section of the configuration."""
        cfg, seq = gang.degrees
        weights = "whole" if gang.weights == "auto" else gang.weights
        return cls(cfg, seq, gang.ulysses_degree, weights)

    @property
    def dit_device(self) -> str | None:
        """Where the DiT is loaded to; weights that are to be divided may be too large for a GPU."""
        return None if self.weights == "whole" else "cpu"


ALONE = Sharing()
"""One rank that does everything."""


class ClipGang:
    """Says what all ranks must agree on, and what they told each other. A rank may be alone."""

    def __init__(self, mesh: Mesh, device: torch.device, halves: Halves | None = None) -> None:
        """See `join`; `halves` is how this rank evaluates those of guidance."""
        self._mesh = mesh
        self._device = device
        self._halves = halves

    @classmethod
    def join(cls, context: RankContext, generator: VideoGenerator, sharing: Sharing) -> ClipGang:
        """Meet the other ranks and share the work of `generator`, which is altered, with them.

        Raises:
            ConfigError: the degrees are not legal for the ranks or the model.
        """
        from videogen.parallel.apply import parallelize_generator
        from videogen.parallel.mesh import Mesh, join, join_alone

        if context.rendezvous is not None:
            join(
                context.rendezvous,
                context.rank,
                context.world_size,
                _with_index(generator.device),
                JOIN_TIMEOUT_S,
                patience_s=LOAD_TIMEOUT_S,
            )
        elif sharing.weights != "whole":
            join_alone(_with_index(generator.device))
        mesh = Mesh(sharing.cfg_degree, sharing.seq_degree, timeout_s=COLLECTIVE_TIMEOUT_S)
        if not isinstance(generator.spec, MakesWholeClips):
            parallelize_generator(generator, mesh, sharing.ulysses_degree, weights=sharing.weights)
        return cls(mesh, generator.device, generator.halves)

    @property
    def leads(self) -> bool:
        """Whether this is the rank that encodes, commits and answers for the others."""
        return self._mesh.rank == 0

    def begin(self, item: Mapping[str, Any], is_done: bool) -> bool:
        """Meet for an item, and begin to count.

        Args:
            is_done: whether there is nothing to do, as far as this rank knows.

        Returns:
            What the first rank said.

        Raises:
            VideogenError: the others have come for another item.
        """
        said = self._all_gather([*_name_of(item), int(is_done)])
        if any(row[:-1] != said[0][:-1] for row in said):
            raise VideogenError(
                f"{item['id']}: got ranks that came for different items, expected the same one."
            )
        self._mesh.counters.reset()
        return bool(said[0][-1])

    def agree(self, said: bool) -> bool:
        """What the first rank says, on all ranks."""
        return said if self._mesh.gang.size == 1 else bool(self._all_gather([float(said)])[0][0])

    def agree_on(self, number: int) -> int:
        """The number that the first rank says, on all ranks."""
        return number if self._mesh.gang.size == 1 else int(self._all_gather([float(number)])[0][0])

    def adapt(self, generator: VideoGenerator, degrade: int) -> None:
        """Have a clip that ran out of memory take less: its halves of guidance one by one.

        Only where one computes in the shadow of the other's collectives, which takes both at once.
        A pipeline of diffusers keeps its weights off the GPU instead.
        """
        from videogen.diffusion.guidance import one_by_one
        from videogen.foreign.generator import ForeignGenerator
        from videogen.parallel.halves import OverlappedHalves

        if isinstance(self._halves, OverlappedHalves):
            generator.halves = one_by_one if degrade else self._halves
        if isinstance(generator, ForeignGenerator):
            generator.degrade(degrade)

    def traffic(self) -> Parallel | None:
        """What all ranks sent and waited since `begin`; None of a rank alone. All ask together."""
        if self._mesh.gang.size == 1:
            return None
        mine = [self._mesh.counters.of(axis) for axis in _AXES]
        rows = self._all_gather([n for t in mine for n in (t.calls, t.bytes, t.seconds)])
        totals = [sum(column) for column in zip(*rows, strict=True)]
        by_axis = {axis: totals[3 * i : 3 * i + 3] for i, axis in enumerate(_AXES)}
        used = {axis: values for axis, values in by_axis.items() if values[0]}
        return Parallel(
            seq_degree=self._mesh.seq.size,
            cfg_degree=self._mesh.cfg.size,
            calls={axis: int(values[0]) for axis, values in used.items()},
            bytes={axis: int(values[1]) for axis, values in used.items()},
            seconds={axis: round(values[2], 6) for axis, values in used.items()},
        )

    def _all_gather(self, numbers: list[float]) -> list[list[float]]:
        """The numbers of every rank, on every rank."""
        import torch

        row = torch.tensor([numbers], dtype=torch.float64, device=self._device)
        gang = self._mesh.gang
        return gang.all_gather(row, (0, (1,) * gang.size), "agree").tolist()


def _name_of(item: Mapping[str, Any]) -> list[float]:
    """An attempt of an item as numbers."""
    name = f"{item['id']}\0{item['attempt']}\0{item['degrade']}"
    return [float(byte) for byte in hashlib.blake2b(name.encode(), digest_size=8).digest()]


def _with_index(device: torch.device) -> torch.device:
    """The device with its number, which "cuda" alone leaves open."""
    import torch

    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device
