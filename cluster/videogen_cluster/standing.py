"""How a gang stands with the scheduler: what it holds, how often it failed, which chances it has.

A *sick* gang answers, but fails whatever it is given, as a process does whose GPU does not work
any more. It could fail all items of a run before the others have made one, so it is replaced after
a few failures in a row. If that did not mend it, it gets its next item only when another gang has
completed one since: that is what tells a sick gang from bad items. Where no gang is left that is
trusted, the items must be bad, and all go on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from videogen_cluster.lease import Lease
from videogen_cluster.limits import Limits

_MAX_PAROLE_S = 3600.0
_NEVER = -1


@dataclass(slots=True)
class Standing:
    """The scheduler's book about one gang.

    `deaths`, `failures` and `setup_failures` are those in a row. `completed_at_*` is how many items
    the whole run had completed then; more than that now speak for the items and against the gang.
    """

    limits: Limits
    ready: bool = False
    has_been_ready: bool = False
    held: bool = False
    retired: bool = False
    given_up: bool = False
    is_final: bool = False
    is_sick: bool = False
    deaths: int = 0
    failures: int = 0
    setup_failures: int = 0
    failed_builds: int = 0
    paroles: int = 0
    completed_at_end: int = _NEVER
    completed_at_replacement: int = _NEVER
    build_at: float = 0.0
    leases: dict[int, Lease] = field(default_factory=dict)

    @property
    def is_gone(self) -> bool:
        return self.retired or self.given_up

    @property
    def is_beyond_hope(self) -> bool:
        return (
            self.deaths >= self.limits.max_gang_deaths
            or self.setup_failures >= self._max_setup_failures
        )

    def is_trusted(self, num_completed: int) -> bool:
        """Whether its failures, if it had any, are few or may be mended."""
        return (
            self.failures < self.limits.max_failures_in_a_row
            or num_completed > self.completed_at_replacement
        )

    def deserves_parole(self, num_completed: int) -> bool:
        if not self.given_up or self.is_final or self.retired:
            return False
        return num_completed > self.completed_at_end

    def start(self) -> None:
        self.ready, self.has_been_ready, self.held = True, True, False
        self.setup_failures = self.failed_builds = 0
        self.build_at = 0.0

    def complete(self) -> None:
        self.deaths = self.failures = self.paroles = 0

    def fail(self, num_completed: int) -> None:
        """An attempt failed that may be the gang's fault."""
        self.failures += 1
        is_enough = self.failures >= self.limits.max_failures_in_a_row
        self.is_sick = is_enough and self.is_trusted(num_completed)

    def end(self, now: float, num_completed: int, *, charged: bool) -> None:
        """Its processes are gone."""
        if not self.ready:
            self.setup_failures += charged
            self._postpone_build(now)
        elif charged or self.is_sick:
            self.deaths += 1
        if self.is_sick:
            self.completed_at_replacement = num_completed
        self.ready = self.held = self.is_sick = False

    def give_up(self, now: float, num_completed: int, *, is_final: bool) -> None:
        self.given_up, self.is_final = True, is_final
        self.completed_at_end = num_completed
        self.build_at = now + min(self.limits.parole_s * 2**self.paroles, _MAX_PAROLE_S)

    def pardon(self) -> None:
        """Give it one more chance."""
        self.given_up = False
        self.paroles += 1
        self.deaths = self.limits.max_gang_deaths - 1
        self.setup_failures = self._max_setup_failures - 1

    @property
    def _max_setup_failures(self) -> int:
        limits = self.limits
        return limits.max_gang_deaths if self.has_been_ready else limits.max_setup_failures

    def _postpone_build(self, now: float) -> None:
        wait_s = min(self.limits.backoff_s * 2**self.failed_builds, self.limits.max_backoff_s)
        self.failed_builds += 1
        self.build_at = now + wait_s
