"""Addresses where nothing listens are found out at once, and a hanging look is ended."""

from __future__ import annotations

import socket
import time

import pytest

from videogen_cluster.inspection import check_listening, inspect_cluster
from videogen_cluster.session import ClusterError


@pytest.fixture
def silent_port():
    """A port that accepts connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize("scheme", ["", "ray://", "http://"])
def test_a_port_that_nobody_listens_on(scheme: str):
    with pytest.raises(ClusterError, match=r"got '.*refused.*Fix: check host and port"):
        check_listening(f"{scheme}127.0.0.1:{free_port()}")


def test_a_port_that_somebody_listens_on_passes(silent_port: int):
    check_listening(f"127.0.0.1:{silent_port}")
    check_listening("auto")


@pytest.mark.parametrize(
    "address,port",
    [("head", None), ("http://head", 80), ("https://head", 443), ("ray://head", 10001),
     ("https://head:8265", 8265), ("head:6380", 6380)],
)  # fmt: skip
def test_an_address_without_a_port_has_the_usual_one(
    address: str, port: int | None, monkeypatch: pytest.MonkeyPatch
):
    asked: list[int] = []

    class Connection:
        def close(self) -> None: ...

    def connect(place: tuple[str, int], timeout: float) -> Connection:
        asked.append(place[1])
        return Connection()

    monkeypatch.setattr(socket, "create_connection", connect)
    check_listening(address)
    assert asked == ([] if port is None else [port])


def test_a_malformed_address_is_an_error_of_ours():
    with pytest.raises(ClusterError, match="Fix:"):
        check_listening("127.0.0.1:port")


def test_a_cluster_that_never_answers_is_given_up(silent_port: int):
    started = time.monotonic()
    with pytest.raises(ClusterError, match=r"no answer in 3 s.*Fix:"):
        inspect_cluster(f"http://127.0.0.1:{silent_port}", 3.0)
    assert time.monotonic() - started < 10


def test_what_went_wrong_in_the_other_process_comes_back():
    port = free_port()
    with pytest.raises(ClusterError, match=f"127.0.0.1:{port}.*refused"):
        inspect_cluster(f"127.0.0.1:{port}", 20.0)
