"""The loop over a stage of one number: which steps the log has."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from videogen.training.config import ScheduleConfig
from videogen.training.finetune_state import Averages
from videogen.training.learner import Learner
from videogen.training.loop import train
from videogen.training.world import World


class OneNumber:
    """A stage that moves one number to where the step says, and writes no model."""

    def __init__(self, schedule: ScheduleConfig) -> None:
        torch.manual_seed(0)
        module = nn.Linear(1, 1, bias=False)
        optimizers: list[torch.optim.Optimizer] = [torch.optim.SGD(module.parameters())]
        averages = Averages(module, schedule.ema_decay)
        self.learner = Learner(
            module, module, averages, optimizers, (schedule.learning_rate,), schedule
        )

    def draw(self, step: int) -> list[float]:
        return [float(step)]

    def losses(self, drawn: list[float], places: range) -> dict[str, Tensor]:
        error = self.learner.forward(torch.ones(1)) - drawn[places.start]
        return {"loss": error.square().sum()}

    def computing(self) -> AbstractContextManager[object]:
        return nullcontext()

    def save(self, folder: Path | None) -> None:
        return None


def log_after(
    schedule: ScheduleConfig, folder: Path, *stops: int | None
) -> list[tuple[int, float]]:
    """Step and loss of every line once training went on to each of the stops."""
    for stop in stops:
        train(OneNumber(schedule), folder, World(), stop)
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"]) for row in rows]


def test_the_log_ends_with_the_last_step_and_is_that_of_a_run_that_did_not_stop(
    tmp_path: Path,
) -> None:
    schedule = ScheduleConfig(
        num_steps=7, batch_size=1, learning_rate=0.1, log_every=3, num_threads=1
    )
    whole = log_after(schedule, tmp_path / "whole", None)
    assert [step for step, _ in whole] == [3, 6, 7]
    assert log_after(schedule, tmp_path / "parts", 4, 5, None) == whole
