"""What a training run keeps: averaged weights, checkpoints, a log. All of it resumes."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from videogen.errors import WeightsError
from videogen.training.config import ScheduleConfig

LOG_FILE = "log.jsonl"


class AveragedModel:
    """Exponential moving average of a model's parameters."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards `model`; the average is short at first and lengthens to `decay`."""
        decay = min(self.decay, (step + 1) / (step + 10))
        for mean, value in zip(self.model.parameters(), model.parameters(), strict=True):
            mean.lerp_(value, 1.0 - decay)


def learning_rate_at(step: int, schedule: ScheduleConfig) -> float:
    """Factor in [0, 1] on the learning rate: warm-up, plateau, linear cool-down to zero."""
    warmup = min(1.0, (step + 1) / max(1, schedule.warmup_steps))
    cooldown_steps = max(1, round(schedule.num_steps * schedule.cooldown_share))
    return min(warmup, max(0.0, (schedule.num_steps - step) / cooldown_steps), 1.0)


def normal_like(x: Tensor) -> Tensor:
    """Standard normal noise for `x`, drawn on the CPU so that a checkpoint holds all RNG state."""
    return torch.randn(x.shape, dtype=x.dtype).to(x.device)


def save_checkpoint(
    folder: Path, step: int, modules: Mapping[str, nn.Module], optimizers: list[Any]
) -> None:
    """Write weights, optimizer moments and RNG state of `step` in one atomic safetensors file."""
    tensors: dict[str, Tensor] = {
        "step": torch.tensor(step),
        "rng": torch.get_rng_state(),
    }
    for name, module in modules.items():
        tensors |= {f"{name}/{key}": value for key, value in module.state_dict().items()}
    for index, optimizer in enumerate(optimizers):
        for key, value in _moments(optimizer):
            tensors[f"optimizer{index}/{key}"] = value
    tensors = {key: value.detach().clone().contiguous() for key, value in tensors.items()}
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "checkpoint.partial"
    save_file(tensors, partial)
    partial.replace(folder / "checkpoint.safetensors")


def load_checkpoint(folder: Path, modules: Mapping[str, nn.Module], optimizers: list[Any]) -> int:
    """Restore the newest checkpoint in `folder`.

    Returns:
        The step to go on with; 0 where there is no checkpoint.

    Raises:
        WeightsError: the checkpoint belongs to another model or optimizer.
    """
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return 0
    tensors = load_file(path)
    try:
        for name, module in modules.items():
            module.load_state_dict(_under(tensors, name))
        for index, optimizer in enumerate(optimizers):
            _restore_moments(optimizer, _under(tensors, f"optimizer{index}"))
    except (RuntimeError, KeyError) as error:
        raise WeightsError(
            f"{path}: does not fit this configuration ({error}). "
            "Fix: use the configuration it was written with, or another --out folder."
        ) from error
    torch.set_rng_state(tensors["rng"])
    return int(tensors["step"])


def _under(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    prefix = f"{name}/"
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _moments(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            yield f"{index}/{key}", torch.as_tensor(value)


def _restore_moments(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split("/")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )


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
            kept = [line for line in lines if json.loads(line)["step"] <= first_step]
            self.path.write_text("".join(kept), encoding="utf-8")
        self.started = time.monotonic()

    def write(self, **values: float | int | str | list[float | None]) -> None:
        record = {"elapsed_s": round(time.monotonic() - self.started, 1), **values}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
