"""The gangs of a run follow its machines, and none that works is taken away."""

from __future__ import annotations

from videogen_cluster.fleet import Fleet, FleetChange
from videogen_cluster.nodes import Node
from videogen_cluster.placement import GangShape, Layout, RankResources

GPU_GANG = GangShape(1, RankResources(4.0, 1.0))


def cpu(name: str) -> Node:
    return Node(name, name, 2.0, 0.0)


def gpu(name: str, gpus: int = 2) -> Node:
    return Node(name, name, 8.0, float(gpus))


def fleet(layout: Layout, nodes: list[Node]) -> Fleet:
    made = Fleet(layout)
    for gang, shape in enumerate(made.plan(nodes, []).added):
        made.add(gang, shape)
    return made


def test_a_machine_that_joins_gets_a_gang_and_one_that_leaves_loses_it():
    made = fleet(Layout(), [cpu("a"), cpu("b")])
    assert [made.shape(gang).node_id for gang in range(len(made))] == ["a", "b"]
    change = made.plan([cpu("b"), cpu("c")], working=[1])
    assert [shape.node_id for shape in change.added] == ["c"]
    assert change.retired == (0,)


def test_a_gang_that_works_stays_until_it_is_lost():
    made = fleet(Layout(), [cpu("a")])
    assert made.plan([], working=[0]) == FleetChange()
    assert made.plan([], working=[]) == FleetChange(retired=(0,))


def test_gangs_on_gpus_are_counted_wherever_they_are():
    made = fleet(Layout(), [gpu("a")])
    assert [made.shape(gang) for gang in range(len(made))] == [GPU_GANG] * 2
    assert made.plan([gpu("a"), gpu("b", 1)], working=[0, 1]).added == (
        GangShape(1, RankResources(4.0, 1.0)),
    )
    # One machine is left, with one GPU: of the gangs that wait, the newest is one too many.
    assert made.plan([gpu("b", 1)], working=[]).retired == (1,)
    assert made.plan([gpu("b", 1)], working=[0, 1]).retired == ()


def test_a_fixed_number_stays_what_was_asked_for():
    made = fleet(Layout(num_gangs=3), [gpu("a")])
    assert len(made) == 3
    assert made.plan([gpu("a"), gpu("b"), gpu("c")], working=[0]) == FleetChange()
    assert made.plan([], working=[]) == FleetChange()


def test_a_fixed_number_waits_for_the_first_machine():
    made = Fleet(Layout(num_gangs=2))
    assert made.plan([Node("head", "head")], []) == FleetChange()
    assert len(made.plan([cpu("a")], []).added) == 2


def test_a_run_does_not_change_its_device():
    made = fleet(Layout(), [cpu("a")])
    (added,) = made.plan([cpu("a"), gpu("b")], working=[0]).added
    assert (added.node_id, added.rank.device) == ("b", "cpu")
