"""Ranks meet at one address and talk over one network."""

from __future__ import annotations

import ipaddress
import os

import pytest

from videogen_cluster import rendezvous
from videogen_cluster.rendezvous import interface_of, open_rendezvous, use_node_network

NAMES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A node that Ray knows by its loopback address."""
    monkeypatch.setattr(rendezvous, "node_ip", lambda: "127.0.0.1")
    monkeypatch.setattr(os, "environ", {k: v for k, v in os.environ.items() if k not in NAMES})
    return monkeypatch


def test_the_address_is_that_of_the_node(alone: pytest.MonkeyPatch):
    host, _, port = open_rendezvous().address.rpartition(":")
    assert ipaddress.ip_address(host).is_loopback
    assert int(port) > 0


def test_an_interface_is_found_by_its_address():
    assert interface_of("127.0.0.1") == "lo"
    assert interface_of("203.0.113.7") is None


def test_a_node_that_keeps_to_itself_does_so_with_both_libraries(alone: pytest.MonkeyPatch):
    use_node_network()
    assert {os.environ[name] for name in NAMES} == {"lo"}


def test_what_the_environment_says_stays(alone: pytest.MonkeyPatch):
    os.environ |= dict.fromkeys(NAMES, "ib0")
    use_node_network()
    assert {os.environ[name] for name in NAMES} == {"ib0"}


def test_nccl_chooses_for_itself_between_nodes(alone: pytest.MonkeyPatch):
    alone.setattr(rendezvous, "node_ip", lambda: "192.0.2.1")
    alone.setattr(rendezvous, "interface_of", lambda ip: "eth7")
    use_node_network()
    assert os.environ["GLOO_SOCKET_IFNAME"] == "eth7"
    assert "NCCL_SOCKET_IFNAME" not in os.environ
