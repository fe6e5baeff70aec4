"""Weights, averages and moments of a training run, whole or divided among workers."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from videogen.errors import WeightsError

CHECKPOINT_FILE = "checkpoint.safetensors"
ORIGIN = "origin"


class Averages:
    """Exponential moving averages of the parameters that are trained, by name."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors = {name: p.detach().clone() for name, p in trained(module)}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move towards `module`; short at first, lengthening to `decay`."""
        decay = min(self.decay, (step + 1) / (step + 10))
        for name, parameter in trained(module):
            self.tensors[name].lerp_(parameter.detach(), 1.0 - decay)


def trained(module: nn.Module) -> Iterable[tuple[str, nn.Parameter]]:
    """Names and parameters that are trained, in a fixed order."""
    return [(name, p) for name, p in module.named_parameters() if p.requires_grad]


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, on the CPU; every worker has to ask for it."""
    full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return full.detach().cpu().clone().contiguous()


def averaged(averages: Averages, prefix: str) -> dict[str, Tensor]:
    """Whole averages, on the CPU, of the parameters below `prefix`; every worker has to ask."""
    tensors = {name: whole(tensor) for name, tensor in averages.tensors.items()}
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def save_state(
    folder: Path | None,
    step: int,
    module: nn.Module,
    averages: Averages,
    optimizers: Iterable[torch.optim.Optimizer],
    origin: str = "",
) -> None:
    """Write everything that the next step depends on, in one atomic file.

    Args:
        folder: None on workers that only hand in their shares.
        origin: names what the run started from, if it can go on from nothing else.
    """
    tensors = {"step": torch.tensor(step)}
    for name, parameter in trained(module):
        tensors[f"weight/{name}"] = whole(parameter)
        tensors[f"average/{name}"] = whole(averages.tensors[name])
        for key, value in _moments(parameter, optimizers).items():
            tensors[f"moment/{name}/{key}"] = whole(torch.as_tensor(value))
    if folder is not None:
        partial = folder / f"{CHECKPOINT_FILE}.partial"
        save_file(tensors, partial, {ORIGIN: origin} if origin else None)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(folder / CHECKPOINT_FILE)


def load_state(
    folder: Path,
    module: nn.Module,
    averages: Averages,
    optimizers: Iterable[torch.optim.Optimizer],
    origin: str = "",
) -> int:
    """Restore the checkpoint of `folder`; every worker reads all of it and keeps its share.

    Returns:
        The step to go on with; 0 where there is no checkpoint.

    Raises:
        WeightsError: it is of another model or configuration, or started from another model.
    """
    path = folder / CHECKPOINT_FILE
    if not path.exists():
        return 0
    _check_origin(path, origin)
    tensors = load_file(path)
    try:
        for name, parameter in trained(module):
            parameter.data.copy_(_share(tensors.pop(f"weight/{name}"), parameter))
            averages.tensors[name].copy_(_share(tensors.pop(f"average/{name}"), parameter))
            _restore_moments(name, parameter, tensors, optimizers)
        step = int(tensors.pop("step"))
        if tensors:
            raise KeyError(f"nothing for {next(iter(tensors))}")
    except (KeyError, RuntimeError) as error:
        raise WeightsError(
            f"{path}: got a checkpoint that does not fit this configuration ({error}), expected "
            "one that was written with it. Fix: use another --out folder."
        ) from error
    return step


def saved_step(folder: Path) -> int:
    """The step that a run in a folder goes on with; 0 where there is no checkpoint."""
    path = folder / CHECKPOINT_FILE
    if not path.exists():
        return 0
    with safe_open(path, "pt") as file:
        return int(file.get_tensor("step"))


def _check_origin(path: Path, origin: str) -> None:
    """Checkpoints that were written before they said their origin are taken as they are."""
    with safe_open(path, "pt") as file:
        said = (file.metadata() or {}).get(ORIGIN, origin)
    if said != origin:
        raise WeightsError(
            f"{path}: got a checkpoint of a run that started from another model, or distils other "
            f"steps (digest {said[:12]}), expected {origin[:12]}. Fix: give the model and steps it "
            "started with, or another --out folder."
        )


def _moments(
    parameter: nn.Parameter, optimizers: Iterable[torch.optim.Optimizer]
) -> dict[str, Tensor]:
    return next((dict(o.state[parameter]) for o in optimizers if parameter in o.state), {})


def _restore_moments(
    name: str,
    parameter: nn.Parameter,
    tensors: dict[str, Tensor],
    optimizers: Iterable[torch.optim.Optimizer],
) -> None:
    prefix = f"moment/{name}/"
    moments = {key: tensors.pop(key) for key in list(tensors) if key.startswith(prefix)}
    owner = next(o for o in optimizers if any(parameter in ids for ids in _groups(o)))
    for key, value in moments.items():
        is_like = value.shape == parameter.shape and not key.endswith("/step")
        kept = _share(value, parameter) if is_like else value
        owner.state[parameter][key.removeprefix(prefix)] = kept


def _groups(optimizer: torch.optim.Optimizer) -> list[set[nn.Parameter]]:
    return [set(group["params"]) for group in optimizer.param_groups]


def _share(full: Tensor, like: Tensor) -> Tensor:
    """This worker's share of a tensor, where and how `like` has its own."""
    full = full.to(like.device)
    if not isinstance(like, DTensor):
        return full
    return distribute_tensor(full, like.device_mesh, like.placements)
