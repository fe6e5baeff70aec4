"""Degrees that clips have no work for are refused before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from videogen.errors import ConfigError
from videogen.models.spec import ModelSpec, read_spec
from videogen_pipelines.config import GangSection
from videogen_pipelines.plan import ClipShape
from videogen_pipelines.sharding import check_gang, forecast_gang

SMALL, LARGE = ClipShape(5, 32, 32, 4), ClipShape(9, 64, 64, 4)
"""The tiny model makes 2 frames of 4 tokens of the small one, and 3 of 16 of the large one."""


@pytest.fixture(scope="module")
def spec(tiny_model: Path) -> ModelSpec:
    return read_spec(tiny_model)


@pytest.mark.parametrize("shapes", [[LARGE], [SMALL, LARGE], [LARGE, SMALL]])
def test_the_largest_clip_decides(spec: ModelSpec, shapes: list[ClipShape]):
    check_gang(spec, shapes, GangSection(seq_degree=16, cfg_degree=2))
    with pytest.raises(ConfigError, match=r"^cluster\.gang\.seq_degree: got 17, .* Fix: use 16\."):
        check_gang(spec, shapes, GangSection(seq_degree=17))


def test_halves_need_guidance_somewhere(spec: ModelSpec):
    unguided = ClipShape(5, 32, 32, 4, is_guided=False)
    check_gang(spec, [unguided, SMALL], GangSection(cfg_degree=2))
    with pytest.raises(ConfigError, match=r"cluster\.gang\.cfg_degree: got 2, .* Fix: use 1"):
        check_gang(spec, [unguided], GangSection(cfg_degree=2))


def test_nothing_to_make_and_single_ranks_are_never_refused(spec: ModelSpec):
    check_gang(spec, [], GangSection(seq_degree=1000))
    check_gang(spec, [SMALL], GangSection())


def test_a_forecast_is_of_the_largest_clip(spec: ModelSpec):
    gang = GangSection(seq_degree=2, cfg_degree=2)
    found = forecast_gang(spec, [SMALL, LARGE], gang, torch.float32)
    assert (found.cfg_degree, found.seq_degree) == (2, 2)
    assert found.rank_bytes < found.alone_bytes
    assert found == forecast_gang(spec, [LARGE], gang, torch.float32)
    half = forecast_gang(spec, [LARGE], gang, torch.bfloat16)
    assert half.sent_bytes_per_step == found.sent_bytes_per_step // 2
