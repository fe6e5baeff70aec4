"""Finds what runs hold on a cluster: placement groups and ranks, and whether their job lives."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

GANG_PREFIX = "videogen-gang-"
RANK_CLASS = "Rank"
_JOB_DIGITS = 8  # Ray ids end in the id of the job that made them
_GONE = {"REMOVED", "DEAD"}


@dataclass(frozen=True, slots=True)
class Holding:
    """Something of ours on a cluster; it is leaked if the job that made it has ended."""

    kind: Literal["placement group", "actor"]
    name: str
    job: str
    leaked: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return asdict(self)


def find_holdings() -> list[Holding]:
    """All placement groups of gangs and all ranks on the cluster this process has joined."""
    from ray._private import state
    from ray.util import placement_group_table

    actors: Any = state.actors()
    alive = {job["JobID"] for job in state.jobs() if not job.get("IsDead")}
    groups = [
        (group["name"], group["placement_group_id"])
        for group in placement_group_table().values()
        if group["name"].startswith(GANG_PREFIX) and group["state"] not in _GONE
    ]
    ranks = [
        (f"{actor['ActorClassName']} {identifier[:8]}", identifier)
        for identifier, actor in actors.items()
        if actor["ActorClassName"] == RANK_CLASS and actor["State"] not in _GONE
    ]
    return [
        *(_holding("placement group", name, identifier, alive) for name, identifier in groups),
        *(_holding("actor", name, identifier, alive) for name, identifier in ranks),
    ]


def _holding(
    kind: Literal["placement group", "actor"], name: str, identifier: str, alive: set[str]
) -> Holding:
    job = identifier[-_JOB_DIGITS:]
    return Holding(kind, name, job, leaked=job not in alive)
