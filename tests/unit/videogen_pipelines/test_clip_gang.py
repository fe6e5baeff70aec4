"""What ranks of a gang agree on, with the collective replaced by what others would say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from videogen.diffusion.guidance import one_by_one
from videogen.errors import VideogenError
from videogen.parallel.halves import OverlappedHalves, SplitHalves
from videogen.parallel.mesh import Mesh
from videogen_pipelines.clip_gang import ClipGang

ITEM = {"id": "a", "attempt": 1, "degrade": 0}


class FakeGang:
    """Puts this rank's row together with those of others."""

    size = 2

    def __init__(self, change: Any) -> None:
        self.change = change

    def all_gather(self, row: torch.Tensor, cut: Any, operation: str) -> torch.Tensor:
        return torch.cat([row, self.change(row.clone())])


def gang_with(change: Any) -> ClipGang:
    mesh: Any = Mesh()
    mesh.gang = FakeGang(change)
    return ClipGang(mesh, torch.device("cpu"))


def with_last(value: float) -> Any:
    def change(row: torch.Tensor) -> torch.Tensor:
        row[0, -1] = value
        return row

    return change


def test_a_rank_alone_leads_and_agrees_with_itself():
    gang = ClipGang(Mesh(), torch.device("cpu"))
    assert gang.leads
    assert gang.begin(ITEM, is_done=True)
    assert not gang.begin(ITEM, is_done=False)
    assert gang.traffic() is None


def test_what_the_first_rank_says_counts():
    assert not gang_with(with_last(1)).begin(ITEM, is_done=False)
    assert gang_with(with_last(0)).begin(ITEM, is_done=True)


@pytest.mark.parametrize("place", range(8))
def test_ranks_that_came_for_different_items_part(place: int):
    def other_name(row: torch.Tensor) -> torch.Tensor:
        row[0, place] += 1
        return row

    with pytest.raises(VideogenError, match="a: got ranks that came for different items"):
        gang_with(other_name).begin(ITEM, is_done=False)


def test_after_running_out_of_memory_halves_are_not_held_at_once():
    overlapped: Any = OverlappedHalves(Mesh())
    split: Any = SplitHalves(Mesh().cfg)
    for halves, spared in ((overlapped, one_by_one), (split, split)):
        generator: Any = SimpleNamespace(halves=halves)
        gang = ClipGang(Mesh(), torch.device("cpu"), halves)
        gang.adapt(generator, degrade=1)
        assert generator.halves is spared
        gang.adapt(generator, degrade=0)
        assert generator.halves is halves


def test_the_first_rank_says_how_many_chunks_are_done():
    assert ClipGang(Mesh(), torch.device("cpu")).agree_on(7) == 7
    mesh: Any = Mesh()
    mesh.gang = FakeGang(lambda row: row + 5)
    assert ClipGang(mesh, torch.device("cpu")).agree_on(7) == 7


def test_traffic_is_that_of_all_ranks_since_the_clip_began():
    gang = gang_with(lambda row: row)
    mesh: Any = gang._mesh
    mesh.counters.add("seq", "switch", 1_000)
    gang.begin(ITEM, is_done=False)
    mesh.gang = FakeGang(lambda row: row * 3)
    mesh.counters.add("seq", "switch", 10)
    mesh.counters.add("seq", "gather", 5)
    traffic = gang.traffic()
    assert traffic is not None
    assert (traffic.calls, traffic.bytes) == ({"seq": 8}, {"seq": 60})
    assert traffic.seconds == {"seq": 0.0}
