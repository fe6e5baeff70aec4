"""A cluster is divided so that every rank gets its share, or it is said why not."""

from __future__ import annotations

from typing import Any

import pytest

from videogen.errors import ConfigError
from videogen_cluster.nodes import Node
from videogen_cluster.placement import GangShape, Layout, RankResources


def node(cpus: float, gpus: float = 0.0, name: str = "a", **more: Any) -> Node:
    return Node(name, f"host-{name}", cpus, gpus, **more)


HEAD = node(0.0, name="head")


def test_on_one_machine_without_gpus_one_gang_gets_every_core():
    assert Layout().shapes([node(2.0)]) == [GangShape(1, RankResources(2.0, 0.0), "a")]


def test_every_machine_without_gpus_holds_one_gang_and_a_head_without_cpus_none():
    nodes = [HEAD, node(2.0, name="a"), node(8.0, name="b")]
    assert Layout(world_size=2).shapes(nodes) == [
        GangShape(2, RankResources(1.0, 0.0), "a"),
        GangShape(2, RankResources(4.0, 0.0), "b"),
    ]


def test_gangs_without_gpus_never_span_machines():
    (shape,) = Layout().shapes([node(2.0)])
    assert shape.strategy == "STRICT_PACK"


def test_with_gpus_there_is_a_gang_for_each_group_of_them():
    shapes = Layout(world_size=2).shapes([HEAD, node(96.0, 8.0), node(32.0, 4.0, "b")])
    assert shapes == [GangShape(2, RankResources(8.0, 1.0))] * 6
    assert (shapes[0].rank.device, shapes[0].strategy) == ("cuda", "PACK")


def test_gpus_are_left_alone_when_the_device_is_the_cpu():
    (shape,) = Layout(use_gpus=False).shapes([node(8.0, 2.0)])
    assert shape.rank == RankResources(8.0, 0.0)
    assert (shape.rank.device, shape.rank.num_threads) == ("cpu", 8)


def test_one_gang_waits_for_gpus_that_an_autoscaler_may_add():
    assert Layout(use_gpus=True).shapes([HEAD]) == [GangShape(1, RankResources(1.0, 1.0))]


def test_nothing_is_planned_before_there_is_anything_to_divide():
    assert Layout().shapes([HEAD]) == Layout(num_gangs=2).shapes([HEAD]) == []


def test_machines_that_are_leaving_hold_nothing():
    nodes = [node(2.0, name="a", leaves_in_s=30.0), node(2.0, name="b")]
    assert [shape.node_id for shape in Layout().shapes(nodes)] == ["b"]


def test_a_fixed_number_of_gangs_shares_the_cores():
    shapes = Layout(num_gangs=2).shapes([node(2.0)])
    assert shapes == [GangShape(1, RankResources(1.0, 0.0))] * 2
    assert shapes[0].rank.num_threads == 1


def test_a_fixed_number_of_gangs_is_spread_evenly_over_machines():
    shapes = Layout(num_gangs=3).shapes([node(8.0, name="a"), node(4.0, name="b")])
    assert shapes == [GangShape(1, RankResources(2.0, 0.0))] * 3


def test_shares_are_whole_cores_where_there_are_enough():
    assert Layout(num_gangs=2).shapes([node(7.0)])[0].rank.cpus == 3.0


def test_more_ranks_than_cores_share_them():
    shape = Layout(num_gangs=3).shapes([node(2.0)])[0]
    assert shape.rank.cpus == 0.66
    assert shape.rank.num_threads == 1


@pytest.mark.parametrize(
    ("layout", "named"),
    [
        (Layout(num_gangs=3, cpus_per_rank=1.0), r"cluster\.cpus_per_rank: got 1 for 3 ranks"),
        (Layout(num_gangs=300), r"cluster\.cpus_per_rank: got 0.01 for 300 ranks"),
        (
            Layout(world_size=2, num_gangs=3, use_gpus=True),
            r"cluster\.gangs: got 3 gangs of 2 ranks, expected at most 4 ranks",
        ),
    ],
)
def test_what_can_never_be_placed_is_refused(layout: Layout, named: str):
    with pytest.raises(ConfigError, match=named):
        layout.check([node(2.0, 4.0 if layout.use_gpus else 0.0)])


def test_what_fits_is_not_refused():
    Layout(num_gangs=3).check([node(2.0)])
    Layout(world_size=2).check([node(64.0, 4.0)])
