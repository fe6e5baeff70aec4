"""What a run tells its program while it goes on."""

from __future__ import annotations

from dataclasses import dataclass

from videogen_cluster.failures import Failure
from videogen_cluster.health import Activity
from videogen_cluster.scheduler import Completed, DeadLettered, Requeued


@dataclass(frozen=True, slots=True)
class InFlight:
    """An item in the hands of a gang; one that it has not begun is at the stage `waiting`."""

    item_id: str
    gang: int
    stage: str = "waiting"
    step: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a run at one moment.

    `gangs_lost` counts losses since the start; `items_redone` the items that a gang had begun to
    work on when it was lost, `gangs_waiting` the gangs that the cluster has no room for yet.
    """

    completed: int
    dead_lettered: int
    gangs_ready: int
    num_gangs: int
    activities: tuple[Activity, ...]
    stopping: bool
    in_flight: tuple[InFlight, ...] = ()
    gangs_lost: int = 0
    items_redone: int = 0
    gangs_waiting: int = 0

    @property
    def gangs_total(self) -> int:
        """Gangs that the run has or waits for."""
        return self.num_gangs


class Listener:
    """Hears of everything that happens, in the driver's thread; override what matters.

    An exception raised here ends the run, after every gang is gone.
    """

    def completed(self, decision: Completed) -> None:
        """An item is done."""

    def dead_lettered(self, decision: DeadLettered) -> None:
        """An item failed for good."""

    def requeued(self, decision: Requeued) -> None:
        """An item failed or was lost and will be tried again."""

    def gang_building(self, gang: int) -> None:
        """A gang has asked for its resources; it waits until the cluster has them."""

    def gang_ready(self, gang: int) -> None:
        """A gang can take items."""

    def gang_lost(self, gang: int, failure: Failure) -> None:
        """A gang died or was killed; it is built again unless it failed too often."""

    def gang_retired(self, gang: int, reason: str) -> None:
        """A gang is not built again: it failed too often, or the cluster has no room for it."""

    def node_joined(self, node_id: str, name: str) -> None:
        """A machine is there; also said of those that were there at the start."""

    def node_left(self, node_id: str, name: str) -> None:
        """A machine is gone."""

    def progress(self, snapshot: Snapshot) -> None:
        """Called after every event and at least once per poll."""

    def wants_stop(self) -> bool:
        """Asked at least once per poll: whether the run should start nothing more and end soon."""
        return False
