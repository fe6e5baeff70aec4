"""Gangs are settled before anything is written; degrees without work for all ranks are refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from videogen.errors import ConfigError
from videogen.models.spec import ModelSpec, read_spec
from videogen_pipelines.config import ClusterSection, GangSection, ModelSection, RunConfig
from videogen_pipelines.gang_choice import settle_gang
from videogen_pipelines.plan import ClipShape
from videogen_pipelines.sharding import forecast_gang

SMALL, LARGE = ClipShape(5, 32, 32, 4), ClipShape(9, 64, 64, 4)
"""The tiny model makes 2 frames of 4 tokens of the small one, and 3 of 16 of the large one."""


@pytest.fixture(scope="module")
def spec(tiny_model: Path) -> ModelSpec:
    return read_spec(tiny_model)


def config(device: str = "auto", address: str | None = None, **gang: Any) -> RunConfig:
    return RunConfig(
        model=ModelSection(device=device, dtype="float32"),
        cluster=ClusterSection(gang=GangSection(**gang), address=address),
    )


def memory_of(spec: ModelSpec, seq: int, cfg: int, weights: Any = "whole") -> str:
    """Just enough for such a gang, with the headroom that the planner leaves."""
    gang = GangSection(seq_degree=seq, cfg_degree=cfg, weights=weights)
    needed = forecast_gang(spec, [LARGE], gang, torch.float32).rank_bytes
    return f"{needed / 0.9 / 1e9 + 1e-7:.9f}GB"


@pytest.mark.parametrize("shapes", [[LARGE], [SMALL, LARGE], [LARGE, SMALL]])
def test_the_largest_clip_decides_which_degrees_are_legal(spec: ModelSpec, shapes: list[ClipShape]):
    settled = settle_gang(config(seq_degree=16, cfg_degree=2), spec, shapes)
    assert (settled.world_size, settled.weights) == (32, "whole")
    with pytest.raises(ConfigError, match=r"^cluster\.gang\.seq_degree: got 17, .* Fix: use 16\."):
        settle_gang(config(seq_degree=17), spec, shapes)


def test_halves_need_guidance_somewhere(spec: ModelSpec):
    unguided = ClipShape(5, 32, 32, 4, is_guided=False)
    assert settle_gang(config(cfg_degree=2), spec, [unguided, SMALL]).degrees == (2, 1)
    with pytest.raises(ConfigError, match=r"cluster\.gang\.cfg_degree: got 2, .* Fix: use 1"):
        settle_gang(config(cfg_degree=2), spec, [unguided])


def test_nothing_to_make_settles_on_one_rank(spec: ModelSpec):
    assert settle_gang(config(seq_degree=1000), spec, []).world_size == 1
    assert settle_gang(config(seq_degree="auto"), spec, []).world_size == 1


@pytest.mark.parametrize(("seq", "cfg"), [(1, 1), (2, 1), (3, 1)])
def test_auto_is_the_smallest_gang_that_fits(spec: ModelSpec, seq: int, cfg: int):
    memory = memory_of(spec, seq, cfg)
    asked = config(seq_degree="auto", cfg_degree=1, weights="whole", gpu_memory=memory)
    assert settle_gang(asked, spec, [LARGE]).degrees == (cfg, seq)


def test_auto_keeps_the_degree_that_is_said(spec: ModelSpec):
    memory = memory_of(spec, 2, 2)
    asked = config(seq_degree="auto", cfg_degree=2, weights="whole", gpu_memory=memory)
    assert settle_gang(asked, spec, [LARGE]).degrees[0] == 2
    asked = config(seq_degree=3, cfg_degree="auto", gpu_memory="1GB")
    assert settle_gang(asked, spec, [LARGE]).degrees == (1, 3)
    asked = config(seq_degree=17, cfg_degree="auto", gpu_memory="1GB")
    with pytest.raises(ConfigError, match=r"^cluster\.gang\.seq_degree: got none that is legal"):
        settle_gang(asked, spec, [LARGE])


def test_auto_divides_weights_that_do_not_fit_whole(spec: ModelSpec):
    deep = dataclasses.replace(spec, dit=dataclasses.replace(spec.dit, depth=24))
    memory = memory_of(deep, 16, 1, "sharded")
    settled = settle_gang(config(seq_degree="auto", gpu_memory=memory), deep, [LARGE])
    assert settled.weights == "sharded"
    assert settled.world_size > 1


def test_nothing_fits(spec: ModelSpec):
    with pytest.raises(ConfigError, match=r"cluster\.gang\.gpu_memory: got .* expected at least"):
        settle_gang(config(seq_degree="auto", gpu_memory="100000B"), spec, [LARGE])


def test_on_cpus_auto_is_one_rank_because_ranks_share_the_memory(spec: ModelSpec):
    for device in ("cpu", "auto"):
        if device == "auto" and torch.cuda.is_available():
            continue
        settled = settle_gang(config(device, seq_degree="auto", cfg_degree="auto"), spec, [LARGE])
        assert (settled.world_size, settled.weights) == (1, "whole")


def test_a_memory_that_is_no_number(spec: ModelSpec):
    with pytest.raises(ConfigError, match=r"^cluster\.gang\.gpu_memory: got 'much', expected a n"):
        settle_gang(config(seq_degree="auto", gpu_memory="much"), spec, [LARGE])


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU to look at")
def test_the_memory_of_a_cluster_has_to_be_said(spec: ModelSpec):
    with pytest.raises(ConfigError, match=r"gpu_memory: missing, .* such as 80GB"):
        settle_gang(config(address="head:6379", seq_degree="auto"), spec, [LARGE])
