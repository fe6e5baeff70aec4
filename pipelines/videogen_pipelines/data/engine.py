"""One stage of a data command on the engine: items in, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from videogen.errors import ConfigError
from videogen.storage import Storage
from videogen_cluster.failures import ErrorClass
from videogen_cluster.listener import Listener
from videogen_cluster.scheduler import Completed, DeadLettered
from videogen_cluster.workload import Workload
from videogen_pipelines.config import RunConfig
from videogen_pipelines.engine import Items, run_workload
from videogen_pipelines.progress import Progress
from videogen_pipelines.redact import redact
from videogen_pipelines.run_listener import RunListener, ScreenListener

Engine = Callable[[Workload, RunConfig, Items, Listener, int], bool]
"""Works on items, tells the listener, and returns whether it was stopped with some left."""


@dataclass
class StageListener(Listener):
    """Counts what is done and remembers what could not be."""

    done: int = 0
    interrupted: bool = False
    failures: dict[str, str] = field(default_factory=dict)
    classes: dict[str, ErrorClass] = field(default_factory=dict)
    """Of the failures."""

    def completed(self, decision: Completed) -> None:
        self.done += 1

    def dead_lettered(self, decision: DeadLettered) -> None:
        failure = decision.failure
        self.failures[decision.item_id] = redact(f"{failure.error_class}: {failure.message}")
        self.classes[decision.item_id] = failure.error_class


@dataclass(frozen=True)
class Stage:
    """What all stages of a command share."""

    config: RunConfig
    console: Console
    log_interval_s: float
    engine: Engine


def work_on_ray(
    workload: Workload, config: RunConfig, items: Items, listener: Listener, to_do: int
) -> bool:
    """Work on a Ray of our own, or on the cluster that the configuration names.

    On CPUs there is a gang for each core; where GPUs may be found, as many as fit.
    """
    max_gangs = to_do if config.model.device == "cpu" else None
    return run_workload(workload, config, items, listener, max_gangs)


def check_apart(source: Storage, out: Storage) -> None:
    """Refuse an output among the inputs, where the next invocation would take it for one.

    Raises:
        ConfigError: it lies there.
    """
    if f"{out.uri.rstrip('/')}/".startswith(f"{source.uri.rstrip('/')}/"):
        raise ConfigError(
            f"--out: got {out.uri}, which lies in {source.uri}, expected a place outside of what "
            "is read. Fix: choose a folder beside it."
        )


def run_stage(
    stage: Stage,
    workload: Workload,
    items: Iterable[tuple[str, Mapping[str, Any]]],
    to_do: int,
    done: int,
    what: str,
) -> StageListener:
    """Run a stage to its end; nothing is started if there is nothing to do."""
    heard = StageListener()
    progress = Progress(to_do, stage.console, stage.log_interval_s, unit=what)
    progress.say(f"{to_do:,} {what} to do, {done:,} done already")
    if to_do:
        listener = RunListener([heard, ScreenListener(progress)])
        with progress:
            heard.interrupted = stage.engine(workload, stage.config, items, listener, to_do)
    return heard
