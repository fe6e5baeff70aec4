"""Tries the dead letters of a run again: the rows that failed for good, and no others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from videogen.storage import Storage
from videogen_pipelines.engine import Engine, run_on_ray
from videogen_pipelines.generate import Outcome, generate
from videogen_pipelines.job import Job
from videogen_pipelines.recorded import recorded_job
from videogen_pipelines.selection import Selection, read_dead_letters


@dataclass(frozen=True)
class Retried:
    """What a retry did; `outcome` is None if there was nothing to try again."""

    uri: str
    chosen: int
    dead: dict[str, int]
    outcome: Outcome | None

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        found = {"out": self.uri, "retried": self.chosen, "dead_letters": self.dead}
        return {**found, **(self.outcome.to_dict() if self.outcome else {})}


def retry(
    storage: Storage,
    console: Console,
    only: str | None = None,
    log_interval_s: float = 10.0,
    engine: Engine = run_on_ray,
    job_of: Callable[[Storage], Job] = recorded_job,
) -> Retried:
    """Run again the rows of a run that failed, as its latest invocation would.

    Args:
        console: where progress goes.
        only: a class of errors; rows that failed of another one keep their failure.
        engine: what makes the clips.
        job_of: how the run is known.

    Raises:
        StorageError: this is no run directory, or it cannot be written.
        ConfigError: its record is of an earlier version.
        InvalidRequestError: its manifest is gone, or has changed since.
        WeightsError: its model is gone, or has changed since.
    """
    selection = Selection(read_dead_letters(storage), only)
    chosen, by_class = len(selection.chosen), selection.by_class()
    job = job_of(storage)
    if not chosen:
        return Retried(storage.uri, 0, by_class, None)
    outcome = generate(job, console, log_interval_s, engine, selection)
    return Retried(storage.uri, chosen, by_class, outcome)
