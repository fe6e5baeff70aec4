"""A cluster is divided so that every rank gets its share, or it is said why not."""

from __future__ import annotations

import pytest

from videogen.errors import ConfigError
from videogen_cluster.placement import Layout, RankResources, plan_layout


def test_without_gpus_one_gang_gets_every_core():
    assert plan_layout(2.0, 0.0) == Layout(1, 1, RankResources(2.0, 0.0))


def test_with_gpus_there_is_a_gang_for_each_group_of_them():
    layout = plan_layout(96.0, 8.0, world_size=2)
    assert layout == Layout(4, 2, RankResources(12.0, 1.0))
    assert layout.rank.device == "cuda"


def test_gpus_are_left_alone_when_the_device_is_the_cpu():
    layout = plan_layout(8.0, 2.0, use_gpus=False)
    assert layout == Layout(1, 1, RankResources(8.0, 0.0))
    assert (layout.rank.device, layout.rank.num_threads) == ("cpu", 8)


def test_shares_are_whole_cores_where_there_are_enough():
    assert plan_layout(7.0, 0.0, num_gangs=2).rank.cpus == 3.0


def test_more_ranks_than_cores_share_them():
    layout = plan_layout(2.0, 0.0, num_gangs=3)
    assert layout.rank.cpus == 0.66
    assert layout.rank.num_threads == 1


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"num_gangs": 3, "cpus_per_rank": 1.0}, "cluster.cpus_per_rank"),
        ({"cpus_per_rank": 0.0}, "cluster.cpus_per_rank"),
    ],
)
def test_what_can_never_be_placed_is_refused(asked: dict[str, float], named: str):
    with pytest.raises(ConfigError, match=named):
        plan_layout(2.0, 0.0, **asked)


def test_more_ranks_than_gpus_are_refused():
    with pytest.raises(ConfigError, match=r"cluster\.gangs: got 3 gangs of 2 ranks.*4 ranks"):
        plan_layout(64.0, 4.0, world_size=2, num_gangs=3)
