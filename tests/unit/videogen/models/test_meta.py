"""Modules built on meta must have shapes and nothing else, and cost nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from videogen.models.meta import on_meta

ROOT = Path(__file__).parents[4]


def test_building_on_meta_allocates_nothing_and_leaves_the_real_device_alone():
    with on_meta():
        layer = torch.nn.Linear(4, 4)
    assert layer.weight.is_meta and isinstance(layer.weight, torch.nn.Parameter)
    assert layer.weight.requires_grad
    real = torch.nn.Linear(4, 4)
    assert not real.weight.is_meta and real.weight.std() > 0


def test_building_on_meta_does_not_import_the_compiler():
    code = (
        "import sys, torch\nfrom videogen.models.meta import on_meta\n"
        "with on_meta():\n    torch.nn.init.normal_(torch.nn.Embedding(3, 4).weight)\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
