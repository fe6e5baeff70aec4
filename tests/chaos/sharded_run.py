"""A run that hits a random rank of its own gang in the middle of a denoising step, clip by clip.

`python -m tests.chaos.sharded_run SETTINGS.json` prints a line of JSON for every rank hit.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.processes import command_of, descendants
from videogen_cluster.failures import Failure
from videogen_cluster.listener import Listener, Snapshot
from videogen_cluster.scheduler import Completed
from videogen_pipelines.engine import Items, run_on_ray
from videogen_pipelines.generate import generate
from videogen_pipelines.job import Job
from videogen_pipelines.run_listener import RunListener

RANK_TITLE = "ray::Rank"


class Killer(Listener):
    """Sends a signal to one rank a clip, so many times, and says what came of it."""

    def __init__(self, num_kills: int, how: signal.Signals) -> None:
        self._out = sys.stdout  # a session keeps it for what is said on purpose
        self._num_kills = num_kills
        self._how = how
        self._dice = random.Random(0)
        self._hit: dict[str, dict[str, Any]] = {}
        self._former: set[int] = set()
        self._waiting: dict[str, Any] | None = None

    def progress(self, snapshot: Snapshot) -> None:
        for found in snapshot.in_flight:
            is_between = found.stage == "denoise" and 1 <= found.step < found.total - 1
            fresh = found.item_id not in self._hit and len(self._hit) < self._num_kills
            if is_between and fresh and self._waiting is None:
                self._kill(found.item_id, found.step)

    def _kill(self, item_id: str, step: int) -> None:
        family = descendants(os.getpid())
        ranks = {pid for pid in family if RANK_TITLE in command_of(pid)} - self._former
        victim = self._dice.choice(sorted(ranks))
        self._former |= ranks
        entry = {"item": item_id, "step": step, "num_ranks": len(ranks), "at": time.monotonic()}
        self._hit[item_id] = self._waiting = entry
        os.kill(victim, self._how)

    def gang_lost(self, gang: int, failure: Failure) -> None:
        assert self._waiting is not None, f"lost without a kill: {failure}"
        self._note("lost_s")
        self._waiting["error_class"] = str(failure.error_class)

    def gang_ready(self, gang: int) -> None:
        if self._waiting is not None:
            self._note("ready_s")
            self._waiting = None

    def completed(self, decision: Completed) -> None:
        if entry := self._hit.get(decision.item_id):
            entry["done_s"] = time.monotonic() - entry["at"]
            entry["attempts"] = decision.attempts
            self._out.write(json.dumps(entry) + "\n")
            self._out.flush()

    def _note(self, name: str) -> None:
        assert self._waiting is not None
        self._waiting[name] = time.monotonic() - self._waiting["at"]


def main(settings: dict[str, Any]) -> int:
    killer = Killer(settings["num_kills"], signal.Signals[settings["signal"]])

    def engine(job: Job, items: Items, listener: Listener) -> bool:
        return run_on_ray(job, items, RunListener([listener, killer], listener.wants_stop))

    job = job_of(settings)
    outcome = generate(job, Console(stderr=True), engine=engine)
    return 0 if outcome.state == "complete" else 1


def job_of(settings: dict[str, Any]) -> Job:
    from videogen_pipelines.config import load_run_config
    from videogen_pipelines.inputs import ManifestInputs
    from videogen_pipelines.job import LoadedModel

    config = load_run_config(None, settings["overrides"])
    model = LoadedModel.read(config.model.name)
    inputs = ManifestInputs(settings["manifest"], model.defaults(config), model.check)
    return Job.check(config, model, inputs, settings["out"])


if __name__ == "__main__":
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text())))
