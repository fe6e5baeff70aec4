"""What gangs are expected to spare and to cost."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from videogen.models.spec import ModelSpec, read_spec
from videogen_pipelines.config import GangSection
from videogen_pipelines.plan import ClipShape
from videogen_pipelines.sharding import forecast_gang

SMALL, LARGE = ClipShape(5, 32, 32, 4), ClipShape(9, 64, 64, 4)
"""The tiny model makes 2 frames of 4 tokens of the small one, and 3 of 16 of the large one."""


@pytest.fixture(scope="module")
def spec(tiny_model: Path) -> ModelSpec:
    return read_spec(tiny_model)


def test_a_forecast_is_of_the_largest_clip(spec: ModelSpec):
    gang = GangSection(seq_degree=2, cfg_degree=2)
    found = forecast_gang(spec, [SMALL, LARGE], gang, torch.float32)
    assert (found.cfg_degree, found.seq_degree) == (2, 2)
    assert found.rank_bytes < found.alone_bytes
    assert found == forecast_gang(spec, [LARGE], gang, torch.float32)
    half = forecast_gang(spec, [LARGE], gang, torch.bfloat16)
    assert half.sent_bytes_per_step == found.sent_bytes_per_step // 2


def test_divided_weights_spare_memory(spec: ModelSpec):
    deep = dataclasses.replace(spec, dit=dataclasses.replace(spec.dit, depth=24))
    whole, divided = (
        forecast_gang(deep, [SMALL], GangSection(seq_degree=4, weights=weights), torch.float32)
        for weights in ("whole", "sharded")
    )
    assert divided.rank_bytes < whole.rank_bytes
    assert divided.alone_bytes == whole.alone_bytes
