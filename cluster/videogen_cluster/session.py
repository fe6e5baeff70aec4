"""The one place that starts or joins Ray."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import secrets
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import videogen
import videogen_cluster
from videogen.errors import VideogenError

_TEMP_PREFIX = "vg-ray-"
_OBJECT_STORE_BYTES = 100 * 2**20  # only small records cross processes
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_worker_niceness": "0",  # Ray would run the ranks, which are all the work, at 15
}


class ClusterError(VideogenError):
    """Ray could not be started or joined, or no gang can live on it."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a session found: its resources, and the folder of its logs if it is our own."""

    cpus: float
    gpus: float
    logs: Path | None


@contextlib.contextmanager
def ray_session(address: str | None = None, *, num_cpus: int | None = None) -> Iterator[Cluster]:
    """Start a Ray of our own, or join one, and leave nothing behind.

    Our own asks for a token that nobody else knows and, unless Ray was imported before this call,
    listens on the loopback interface only; its processes die with this one.

    Args:
        address: None for our own; "auto", "host:port" or "ray://…" to join a cluster.
        num_cpus: CPUs of our own Ray; None for those of the machine.

    Raises:
        ClusterError: Ray did not start, or cannot be reached.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(_temp_folder())
        own: dict[str, Any] = {}
        if address is None:
            stack.enter_context(_environment(_private_environment()))
            own = {
                "num_cpus": num_cpus,
                "include_dashboard": False,
                "object_store_memory": _OBJECT_STORE_BYTES,
                "_temp_dir": str(folder / "r"),
            }
        import ray

        stack.callback(ray.shutdown)
        with _neutral_folder(folder), _own_sigterm():
            _init(address, own)
        resources = ray.cluster_resources()
        logs = folder / "r" / "session_latest" / "logs" if address is None else None
        yield Cluster(resources.get("CPU", 0.0), resources.get("GPU", 0.0), logs)


def _init(address: str | None, own: dict[str, Any]) -> None:
    import ray

    try:
        ray.init(
            address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **own
        )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        where = "a local Ray" if address is None else f"the Ray cluster at '{address}'"
        raise ClusterError(
            f"{where}: got '{error}', expected it to answer. Fix: "
            + (
                "check free memory and disk space."
                if address is None
                else "check cluster.address and that the versions of Ray and Python are the same."
            )
        ) from error


def _private_environment() -> dict[str, str]:
    values = {
        **_QUIET,
        "RAY_AUTH_TOKEN": _token(),
        "PYTHONPATH": os.pathsep.join(_import_roots()),
    }
    # Ray reads these once, when it is imported; the first one is its switch for "the loopback
    # address is this node's address", whatever the name says.
    if "ray" not in sys.modules:
        values |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
    return values


@functools.cache
def _token() -> str:
    return secrets.token_hex(32)  # one a process, because Ray reads it once a process


def _import_roots() -> list[str]:
    """The folders workers must import from to get the same code as this process."""
    ours = [str(Path(package.__path__[0]).parent) for package in (videogen, videogen_cluster)]
    ours += [path for path in sys.path if (Path(path) / "videogen_pipelines").is_dir()]
    said = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    roots = [path for path in [*said, *ours] if path and "-packages" not in path]
    return list(dict.fromkeys(str(Path(path).resolve()) for path in roots))


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _neutral_folder(folder: Path) -> Iterator[None]:
    """Start Ray from an empty folder.

    Ray puts the driver's working directory first on every worker's path, so a `videogen` folder
    of the user's own would be imported there instead of ours.
    """
    before = Path.cwd()
    (folder / "cwd").mkdir()
    os.chdir(folder / "cwd")
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep the program's answer to SIGTERM, which Ray replaces with an exit of its own."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _temp_folder() -> Iterator[Path]:
    """A private folder with a short path: Unix sockets inside may not exceed 107 bytes."""
    parent = Path("/tmp")  # noqa: S108 - the folder itself is made by mkdtemp, for this user alone
    _remove_abandoned(parent)
    folder = tempfile.mkdtemp(prefix=f"{_TEMP_PREFIX}{os.getpid()}-", dir=parent)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    """Remove the folders of runs that were killed before they could."""
    for folder in parent.glob(f"{_TEMP_PREFIX}*"):
        match = re.match(rf"{_TEMP_PREFIX}(\d+)-", folder.name)
        with contextlib.suppress(OSError):
            mine = folder.stat().st_uid == os.getuid()
            if match and mine and not Path(f"/proc/{match[1]}").exists():
                shutil.rmtree(folder, ignore_errors=True)
