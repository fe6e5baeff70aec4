"""What a run tells its program while it goes on."""

from __future__ import annotations

from dataclasses import dataclass

from videogen_cluster.failures import Failure
from videogen_cluster.health import Activity
from videogen_cluster.scheduler import Completed, DeadLettered, Requeued


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a run at one moment."""

    completed: int
    dead_lettered: int
    gangs_ready: int
    num_gangs: int
    activities: tuple[Activity, ...]
    stopping: bool


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

    def gang_ready(self, gang: int) -> None:
        """A gang can take items."""

    def gang_lost(self, gang: int, failure: Failure) -> None:
        """A gang died or was killed; it is built again unless it failed too often."""

    def progress(self, snapshot: Snapshot) -> None:
        """Called after every event and at least once per poll."""

    def wants_stop(self) -> bool:
        """Asked at least once per poll: whether the run should start nothing more and end soon."""
        return False
