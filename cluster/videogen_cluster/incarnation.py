"""One incarnation of a gang, and what the supervisor knows of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from videogen_cluster.failures import ErrorClass, Failure
from videogen_cluster.gang import Gang
from videogen_cluster.health import Activity, Patience, Pulse, Report
from videogen_cluster.rank import RankReady

# Ray needs about 15 s to tell a machine that is gone from one that is slow.
DOUBT_S = 25.0
# It knows of a process that died within a second or two.
CAUSE_S = 5.0
STATES = ("waiting", "starting", "ready")


@dataclass(slots=True, eq=False)
class Incarnation:
    """From the request for resources to the end.

    It waits while `nodes` is empty and starts until it is `ready`. There are doubts about a rank,
    since a moment, while it cannot be reached and nobody knows whether it, its machine or the
    network is at fault. `complaints` are of ranks that another one has left in a collective: the
    gang is at its end then, and waits only to learn why.
    """

    gang: Gang
    pulse: Pulse
    nodes: tuple[str, ...] = ()
    placed_at: float | None = None
    ranks: dict[int, RankReady] = field(default_factory=dict)
    reports: dict[int, Report] = field(default_factory=dict)
    report_due: bool = True
    ready: bool = False
    num_owed: int = 0
    doubts: dict[int, float] = field(default_factory=dict)
    complaints: dict[int, tuple[float, Failure]] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """`waiting`, `starting` or `ready`."""
        if self.ready:
            return "ready"
        return "starting" if self.nodes else "waiting"

    def look(self) -> None:
        """Find out whether it has its resources by now."""
        if not self.nodes and (nodes := self.gang.nodes()):
            self.place(nodes)

    def place(self, nodes: tuple[str, ...]) -> None:
        self.nodes = nodes
        self.placed_at = time.monotonic()

    @property
    def doubted_s(self) -> float | None:
        """For how long a rank has been out of reach, if one is."""
        return time.monotonic() - min(self.doubts.values()) if self.doubts else None

    def complain(self, rank: int, failure: Failure) -> None:
        """A rank says that another one has left it in a collective."""
        self.complaints.setdefault(rank, (time.monotonic(), failure))

    def unexplained(self) -> Failure | None:
        """Why it is to be killed after complaints whose cause nobody has named, or None for now.

        A process that died would be known by now, so what cannot be reached is its machine.
        """
        if not self.complaints:
            return None
        since, failure = min(self.complaints.values(), key=lambda complaint: complaint[0])
        waited_s = time.monotonic() - since
        if len(self.complaints) < self.gang.shape.world_size and waited_s <= CAUSE_S:
            return None
        cause = out_of_reach(waited_s) if self.doubts else failure
        return self.blame(cause, waited_s, min(self.complaints))

    def excuse(self, seconds: float) -> None:
        """Forgive a silence in which nobody listened."""
        self.pulse.excuse(seconds)
        if self.placed_at is not None:
            self.placed_at += seconds
        self.doubts = {rank: since + seconds for rank, since in self.doubts.items()}

    def overdue(self, patience: Patience, setup_timeout_s: float) -> Failure | None:
        """Why it is to be killed now for its silence, or None.

        A first step is given the time of a setup: it compiles and warms up, too.
        """
        if failure := self.unexplained():
            return failure
        now = time.monotonic()
        doubted_s = self.doubted_s
        if doubted_s is not None:
            return self.blame(out_of_reach(doubted_s)) if doubted_s > DOUBT_S else None
        if self.ready:
            limit_s = self.pulse.exceeded_s(now, patience, setup_timeout_s)
            if limit_s is None:
                return None
            return self.blame(hang(self.pulse.activities, limit_s), self.pulse.silent_s(now))
        late = self.placed_at is not None and now - self.placed_at > setup_timeout_s
        return self.blame(too_late(setup_timeout_s), setup_timeout_s) if late else None

    def blame(
        self, failure: Failure, detected_s: float | None = None, rank: int | None = None
    ) -> Failure:
        """Say where it happened and how long nobody noticed."""
        if detected_s is None and self.ready:
            detected_s = time.monotonic() - self.pulse.heard_at
        known = self.ranks.get(rank) if rank is not None else None
        node = known.node_id if known else next(iter(self.nodes), None)
        return replace(failure, gang=self.gang.index, node=node, detected_s=detected_s)


def hang(activities: tuple[Activity, ...], timeout_s: float) -> Failure:
    doing = ", ".join(f"{a.item_id}: {a.stage} {a.step}/{a.total}" for a in activities) or "nothing"
    return Failure(
        ErrorClass.HANG,
        f"rank: got no sign of life for {timeout_s:g} s (last seen doing {doing}), expected one "
        "per denoising step. Fix: raise cluster.hang_timeout_s if a step may take that long.",
    )


def too_late(timeout_s: float) -> Failure:
    return Failure(
        ErrorClass.HANG,
        f"gang: got no answer {timeout_s:g} s after it had its resources, expected it to have "
        "loaded its model. Fix: check that its node can start Python and reach the weights.",
    )


def node_lost(name: str) -> Failure:
    return Failure(ErrorClass.PREEMPTION, f"its node {name} is gone")


def node_leaving(name: str) -> Failure:
    return Failure(ErrorClass.PREEMPTION, f"its node {name} is being taken away")


def out_of_reach(seconds: float) -> Failure:
    return Failure(ErrorClass.PREEMPTION, f"rank: got no connection for {seconds:.0f} s")
