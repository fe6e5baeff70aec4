"""The schedule of a training run, and its log; both go on where a run was interrupted."""

from __future__ import annotations

import json
import time
from pathlib import Path

from videogen.training.config import ScheduleConfig

LOG_FILE = "log.jsonl"


def learning_rate_at(step: int, schedule: ScheduleConfig) -> float:
    """Factor in [0, 1] on the learning rate: warm-up, plateau, linear cool-down to zero."""
    warmup = min(1.0, (step + 1) / max(1, schedule.warmup_steps))
    cooldown_steps = max(1, round(schedule.num_steps * schedule.cooldown_share))
    return min(warmup, max(0.0, (schedule.num_steps - step) / cooldown_steps), 1.0)


class TrainingLog:
    """Appends one JSON object a line to `log.jsonl`, with the seconds this process has run.

    Args:
        first_step: lines of later steps are dropped: they were written after the checkpoint that
            the run goes on from. None keeps all.
    """

    def __init__(self, folder: Path, first_step: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / LOG_FILE
        if first_step is not None and self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            whole = [line for line in lines if line.endswith("\n")]  # a kill may cut the last short
            kept = [line for line in whole if json.loads(line)["step"] <= first_step]
            partial = self.path.with_suffix(".partial")
            partial.write_text("".join(kept), encoding="utf-8")
            partial.replace(self.path)
        self.started = time.monotonic()

    def write(self, **values: float | int | str | list[float | None]) -> None:
        record = {"elapsed_s": round(time.monotonic() - self.started, 1), **values}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
