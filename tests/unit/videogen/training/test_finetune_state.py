"""Moments of optimizers go back to where their parameters are."""

from __future__ import annotations

import torch
from torch import nn

from videogen.training.finetune_state import _restore_moments


def test_moments_of_a_single_number_are_on_its_device() -> None:
    parameter = nn.Parameter(torch.empty((), device="meta"))
    optimizer = torch.optim.AdamW([parameter])
    tensors = {f"moment/scale/{key}": torch.tensor(1.0) for key in ("exp_avg", "step")}
    _restore_moments("scale", parameter, tensors, [optimizer])
    devices = {key: value.device.type for key, value in optimizer.state[parameter].items()}
    assert devices == {"exp_avg": "meta", "step": "cpu"}
