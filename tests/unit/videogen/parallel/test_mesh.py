"""Degrees that do not fit are refused before anything is connected."""

from __future__ import annotations

import socket

import pytest
import torch
from torch.distributed import DistStoreError

from videogen.errors import ConfigError
from videogen.parallel.mesh import Mesh, join, open_store


def test_a_mesh_of_one_rank_needs_no_others() -> None:
    mesh = Mesh()
    assert (mesh.gang.size, mesh.cfg.size, mesh.seq.size) == (1, 1, 1)
    x = torch.arange(3.0)
    assert mesh.seq.all_gather(x, (0, (3,)), "gather") is x
    assert mesh.counters.snapshot() == {}


@pytest.mark.parametrize(
    ("degrees", "message"),
    [
        ((3, 1), "cfg_degree: got 3, expected 1 or 2"),
        ((1, 0), "seq_degree: got 0"),
        ((2, 2), r"mesh: got 1 ranks, expected 4.*2 x seq_degree 2\. Fix"),
    ],
)
def test_degrees_that_do_not_fit_are_refused(degrees: tuple[int, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Mesh(*degrees)


def test_the_axis_of_tokens_splits_into_whole_groups_only() -> None:
    with pytest.raises(ConfigError, match="ulysses_degree: got 2, expected a divisor"):
        Mesh().subdivide_seq(2)


@pytest.mark.parametrize("address", ["somewhere", "host:", ":123", "host:http"])
def test_an_address_names_a_host_and_a_port(address: str) -> None:
    with pytest.raises(ConfigError, match="expected host:port"):
        join(address, 1, 2, torch.device("cpu"))


def test_a_meeting_place_is_open_at_its_own_address_alone() -> None:
    store = open_store("127.0.0.1")
    socket.create_connection(("127.0.0.1", store.port), timeout=5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", store.port), timeout=5)


def test_a_rank_whose_others_do_not_come_gives_up() -> None:
    store = open_store("127.0.0.1")
    with pytest.raises(DistStoreError):
        join(f"127.0.0.1:{store.port}", 0, 2, torch.device("cpu"), patience_s=0.2)
