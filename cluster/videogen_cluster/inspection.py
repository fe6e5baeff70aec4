"""Looks at Ray and at clusters from other processes, which can be given up when they hang."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from videogen.errors import VideogenError
from videogen_cluster.leftovers import Holding, find_holdings
from videogen_cluster.session import ClusterError, ray_session

_CONNECT_S = 3.0
_JOIN_PORT = 6379
_USUAL_PORTS = {"http": 80, "https": 443, "ray": 10001}


@dataclass(frozen=True, slots=True)
class RayReport:
    """Ray on this machine; `dashboard_error` says why job server and metrics cannot run here."""

    version: str
    dashboard_error: str | None


@dataclass(frozen=True, slots=True)
class ClusterReport:
    """What an address leads to.

    Attributes:
        kind: a cluster that was joined, or the job server of one.
        holdings: what runs of ours hold there; None if it cannot be seen from here.
    """

    address: str
    kind: Literal["cluster", "job server"]
    ray_version: str
    nodes: int = 0
    cpus: float = 0.0
    gpus: float = 0.0
    holdings: list[Holding] | None = None


def inspect_ray(timeout_s: float) -> RayReport:
    """Import Ray and what its dashboard needs.

    Raises:
        ClusterError: Ray cannot be imported here, or not in time.
    """
    return RayReport(**_ask("", timeout_s, "importing Ray"))


def inspect_cluster(address: str, timeout_s: float) -> ClusterReport:
    """Join the cluster at `address`, or ask its job server, and leave again.

    Args:
        address: "auto", "host:port", "ray://host:port", or the "http://…" of a job server.

    Raises:
        ClusterError: it cannot be reached or joined, or gave no answer in time.
    """
    found = _ask(address, timeout_s, f"the Ray cluster at '{address}'")
    holdings = found.pop("holdings", None)
    known = None if holdings is None else [Holding(**holding) for holding in holdings]
    return ClusterReport(address=address, holdings=known, **found)


def _ask(address: str, timeout_s: float, what: str) -> dict[str, Any]:
    roots = os.pathsep.join(path for path in sys.path if path)
    program = [sys.executable, "-P", "-m", "videogen_cluster.inspection", address, str(timeout_s)]
    done = subprocess.run(
        program,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": roots},
    )
    if done.returncode == -signal.SIGALRM:
        raise ClusterError(
            f"{what}: got no answer in {timeout_s:.0f} s, expected one. Fix: check that it is up, "
            "that its ports are open from here, and that both sides use the same token."
        )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ClusterError(
            f"{what}: got '{lines[-1]}', expected success. "
            "Fix: install the cluster's version of Ray here: pip install 'ray[default]'."
        )
    found = json.loads(done.stdout.splitlines()[-1])
    if "error" in found:
        raise ClusterError(found["error"])
    return found


def look_at_ray() -> dict[str, Any]:
    """The fields of a `RayReport`, found in this process."""
    import ray
    from ray._private.utils import get_dashboard_dependency_error

    missing = get_dashboard_dependency_error()
    return {
        "version": ray.__version__,
        "dashboard_error": None if missing is None else str(missing),
    }


def look_at_cluster(address: str) -> dict[str, Any]:
    """The fields of a `ClusterReport`, found in this process.

    Raises:
        ClusterError: it cannot be reached or joined.
    """
    check_listening(address)
    if address.startswith(("http://", "https://")):
        return {"kind": "job server", "ray_version": _job_server_version(address)}
    with ray_session(address) as cluster:
        import ray

        # A Ray client sees the cluster through a proxy, without the tables of jobs and actors.
        holdings = None if address.startswith("ray://") else find_holdings()
        return {
            "kind": "cluster",
            "ray_version": ray.__version__,
            "nodes": sum(1 for node in ray.nodes() if node["Alive"]),
            "cpus": cluster.cpus,
            "gpus": cluster.gpus,
            "holdings": None if holdings is None else [h.to_dict() for h in holdings],
        }


def _job_server_version(address: str) -> str:
    from ray.job_submission import JobSubmissionClient

    try:
        return JobSubmissionClient(address).get_version()
    except (ConnectionError, RuntimeError, ValueError) as error:
        why = str(error).strip().partition("\n")[0][:300]
        raise ClusterError(
            f"the job server at '{address}': got '{why}', expected its version. Fix: start Ray "
            "with its dashboard, and use RAY_AUTH_MODE=token and the head's token on both sides."
        ) from error


def check_listening(address: str) -> None:
    """Raise at once where nothing listens, as Ray would go on trying.

    Raises:
        ClusterError: the address refuses connections or does not answer.
    """
    if "://" not in address and ":" not in address:
        return  # "auto", which Ray looks up
    parts = urlsplit(address if "://" in address else f"join://{address}")
    try:
        port = parts.port or _USUAL_PORTS.get(parts.scheme, _JOIN_PORT)
        socket.create_connection((parts.hostname or "", port), _CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"the Ray cluster at '{address}': got '{error}', expected something that listens "
            "there. Fix: check host and port (6379 to join, 10001 for ray://, 8265 for http://), "
            "the firewall, and the ssh tunnel if you use one."
        ) from error


def main(address: str, timeout_s: float) -> None:
    """Write what is found as one line of JSON; the kernel ends a process that takes longer."""
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        found = look_at_cluster(address) if address else look_at_ray()
    except VideogenError as error:
        found = {"error": str(error)}
    sys.stdout.write(f"\n{json.dumps(found)}\n")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
