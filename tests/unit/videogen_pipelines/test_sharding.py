"""What gangs are expected to spare and to cost."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from videogen.models.presets import count_parameters
from videogen.models.spec import ModelSpec, read_spec
from videogen.parallel.planner import estimate_memory
from videogen.parallel.planner_work import Degrees
from videogen_pipelines.config import GangSection
from videogen_pipelines.plan import ClipShape
from videogen_pipelines.sharding import ClipKind, clip_demand, forecast_gang

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


def test_parts_that_visit_are_not_held(spec: ModelSpec):
    kind = ClipKind(5, 32, 32, 4, is_guided=True)
    held, no_text, no_vae = (
        estimate_memory(clip_demand(spec, kind, torch.float32, offload), Degrees())
        for offload in ([], ["text"], ["vae"])
    )
    counts = count_parameters(spec)
    assert counts.text
    assert held.weights - no_text.weights == 4 * counts.text
    assert no_text.denoise == max(held.denoise, 4 * counts.text)
    assert held.weights - no_vae.weights == no_vae.decode - held.decode == 4 * counts.vae
