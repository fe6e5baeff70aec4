"""What a gang does with an item: the contract between the engine and the programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Heartbeat = Callable[[str, int, int], None]
"""`heartbeat(stage, step, total)`: said at least once per denoising step or chunk of frames."""


@dataclass(frozen=True, slots=True)
class RankContext:
    """Where a rank finds itself: its place in the gang and what it may use of its machine.

    `rendezvous` is the "host:port" that the ranks of a gang meet at; None for one that is alone.
    """

    gang: int
    rank: int
    world_size: int
    device: str
    num_threads: int
    rendezvous: str | None = None


class Workload(Protocol):
    """Made by the program, pickled once to every rank, so it holds settings and no state."""

    def setup(self, context: RankContext) -> None:
        """Load what every item needs, once per rank, in the thread that will compute."""
        ...

    def compute(
        self, item: Mapping[str, Any], heartbeat: Heartbeat
    ) -> Callable[[], dict[str, Any]]:
        """Do the part of an item that needs the device; one item at a time.

        Args:
            item: the item's payload with `attempt` (from 1), `degrade` (how often it ran out of
                memory; use less) and `repeat` (it was begun before, and may be done already). All
                ranks of a gang get the same, in the same order; the first one's record counts.
            heartbeat: tells the supervisor that this rank lives.

        Returns:
            The rest of the work (encode, verify, commit). It runs in another thread while the
            next item computes, and returns the small record of the item, JSON-ready.
        """
        ...
