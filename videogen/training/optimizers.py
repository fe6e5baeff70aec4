"""Muon for the matrices of transformer blocks, AdamW for everything else."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from videogen.training.config import ScheduleConfig


def make_optimizers(
    modules: Iterable[nn.Module], schedule: ScheduleConfig, muon_learning_rate: float
) -> list[torch.optim.Optimizer]:
    """Optimizers over all parameters of `modules`.

    Muon (Jordan 2024; updates scaled as in Liu et al. 2502.16982) takes the hidden matrices.
    Embeddings, modulations, input and output layers, biases and norms stay with AdamW.
    """
    matrices, others = [], []
    for module in modules:
        for name, parameter in module.named_parameters():
            hidden = parameter.ndim == 2 and ("blocks." in name or "layers." in name)
            (matrices if hidden and "modulation" not in name else others).append(parameter)
    muon = torch.optim.Muon(
        matrices, lr=muon_learning_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
    )
    adamw = torch.optim.AdamW(
        others, lr=schedule.learning_rate, betas=(0.9, 0.98), weight_decay=0.0
    )
    return [muon, adamw]


def scale_learning_rates(
    optimizers: Iterable[torch.optim.Optimizer], rates: Iterable[float], factor: float
) -> None:
    """Set each optimizer's learning rate to `factor` times its base rate."""
    for optimizer, rate in zip(optimizers, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = factor * rate
