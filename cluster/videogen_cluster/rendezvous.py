"""Where the ranks of a gang meet, and over which network they then talk to each other."""

from __future__ import annotations

import fcntl
import ipaddress
import os
import socket
import struct
from dataclasses import dataclass
from typing import Any

import ray

_SIOCGIFADDR = 0x8915
_NAME_BYTES = 15


@dataclass(frozen=True)
class Rendezvous:
    """An address that the ranks of one gang find each other at, open as long as this is kept."""

    address: str
    store: Any


def open_rendezvous() -> Rendezvous:
    """Open a meeting place on this node, at the address that Ray knows it by; for one rank."""
    from videogen.parallel.mesh import open_store

    host = node_ip()
    store = open_store(host)
    return Rendezvous(f"[{host}]:{store.port}" if ":" in host else f"{host}:{store.port}", store)


def use_node_network() -> None:
    """Have the ranks of this process talk where the nodes of the cluster do.

    gloo would ask for this machine's name instead, which may be anything. NCCL finds the fastest
    network by itself, but a Ray that keeps to this machine is to stay unseen from outside.
    What the environment says already is left as it is.
    """
    host = node_ip()
    name = interface_of(host)
    if name is None:
        return
    os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
    if ipaddress.ip_address(host).is_loopback:
        os.environ.setdefault("NCCL_SOCKET_IFNAME", name)


def node_ip() -> str:
    """The address that Ray knows this node by: the loopback one where Ray keeps to this machine."""
    return ray.util.get_node_ip_address()


def interface_of(ip: str) -> str | None:
    """The name of the network interface with this IPv4 address, or None."""
    for _, name in socket.if_nameindex():
        if _address_of(name) == ip:
            return name
    return None


def _address_of(name: str) -> str | None:
    request = struct.pack("256s", name.encode()[:_NAME_BYTES])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
        except OSError:  # it has no IPv4 address
            return None
    return socket.inet_ntoa(answer[20:24])
