"""What a run puts up with: the budgets of its items and its gangs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Budgets of a run.

    Attributes:
        max_attempts: charged attempts an item gets.
        max_failures_in_a_row: attempts that fail on one gang, with none completed in between,
            before it is sick: its processes are replaced, which counts as a death.
        max_gang_deaths: deaths of one gang in a row, with no item ending in between, before it
            is given up. Above `max_attempts`, or one poison item would strand the queue.
        max_setup_failures: failed starts of one gang in a row before it is given up, if it has
            never been ready. One that has been can start, so what stops it may pass: its failed
            starts then count as its deaths do.
        parole_s: wait before a gang that was given up is tried once more, if items were completed
            meanwhile; twice as long each time.
        max_in_flight: items a gang holds at once: one computing, one finishing or waiting.
        queue_capacity: items held in memory ahead of need.
        backoff_s, max_backoff_s: first and longest wait before a retry that backs off.
    """

    max_attempts: int = 3
    max_failures_in_a_row: int = 3
    max_gang_deaths: int = 6
    max_setup_failures: int = 3
    parole_s: float = 60.0
    max_in_flight: int = 2
    queue_capacity: int = 64
    backoff_s: float = 1.0
    max_backoff_s: float = 60.0

    def __post_init__(self) -> None:
        if self.max_attempts < 1 or self.max_in_flight < 1 or self.queue_capacity < 1:
            raise ValueError(f"limits: got {self}, expected counts of at least 1.")
        if self.max_gang_deaths <= self.max_attempts:
            raise ValueError(
                f"max_gang_deaths: got {self.max_gang_deaths}, expected more than max_attempts "
                f"({self.max_attempts}), because one bad item may cost that many gangs."
            )
