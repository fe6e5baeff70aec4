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
from importlib import metadata
from pathlib import Path
from typing import Any

import videogen
import videogen_cluster
from videogen.errors import VideogenError
from videogen_cluster.chatter import quiet_stdout
from videogen_cluster.own_node import few_processes, own_session

_TEMP_PREFIX = "vg-ray-"
_OBJECT_STORE_BYTES = 100 * 2**20  # only small records cross processes
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_worker_niceness": "0",  # Ray would run the ranks, which are all the work, at 15
}


_JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"


class ClusterError(VideogenError):
    """Ray could not be started or joined, or no gang can live on it."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a session found: its resources, and the folder of its logs if it is our own."""

    cpus: float
    gpus: float
    logs: Path | None

    @property
    def is_own(self) -> bool:
        """Started for this run alone, so no machine will ever join it."""
        return self.logs is not None


@contextlib.contextmanager
def ray_session(address: str | None = None, *, num_cpus: int | None = None) -> Iterator[Cluster]:
    """Start a Ray of our own, or join one, and leave nothing behind.

    Our own asks for a token that nobody else knows and, unless Ray was imported before this call,
    listens on the loopback interface only; its processes die with this one. Inside a job of a Ray
    cluster, no address means that cluster.

    Args:
        address: None for our own; "auto", "host:port" or "ray://host:10001" to join a cluster.
        num_cpus: CPUs of our own Ray; None for those of the machine.

    Raises:
        ClusterError: Ray did not start, or cannot be reached.
    """
    address = address or surrounding_cluster()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(_temp_folder())
        if address is None:
            stack.enter_context(_environment(_private_environment()))
            options = _own_options(folder, num_cpus)
        else:
            options = _joining_options()
        import ray

        stack.enter_context(quiet_stdout())
        stack.callback(_shut_down)
        lean = few_processes() if address is None else contextlib.nullcontext()
        with _neutral_folder(folder), _own_sigterm(), own_session(), lean:
            _init(address, options)
        resources = ray.cluster_resources()
        logs = folder / "r" / "session_latest" / "logs" if address is None else None
        yield Cluster(resources.get("CPU", 0.0), resources.get("GPU", 0.0), logs)


def surrounding_cluster() -> str | None:
    """The address of the cluster that this process is a job of, or that the user works with."""
    if _JOB_CONFIG in os.environ:
        return os.environ.get("RAY_ADDRESS") or "auto"
    said = os.environ.get("RAY_ADDRESS", "")
    # A dashboard's address submits jobs; nothing can be run through it.
    return None if said in ("", "local") or said.startswith("http") else said


def _own_options(folder: Path, num_cpus: int | None) -> dict[str, Any]:
    return {
        "num_cpus": num_cpus,
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE_BYTES,
        "_temp_dir": str(folder / "r"),
    }


def _init(address: str | None, options: dict[str, Any]) -> None:
    import ray
    from ray.exceptions import RayError

    try:
        ray.init(
            address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **options
        )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, RayError) as error:
        where = "a local Ray" if address is None else f"the Ray cluster at '{address}'"
        raise ClusterError(
            f"{where}: got '{error}', expected it to answer. Fix: {_remedy(address, str(error))}"
        ) from error


def _remedy(address: str | None, said: str) -> str:
    if address is None:
        return "check free memory and disk space."
    copy_it = (
        "copy the token of its head (`ray get-auth-token`) to ~/.ray/auth_token of this machine or "
        "into RAY_AUTH_TOKEN, and set RAY_AUTH_MODE=token."
    )
    if any(sign in said.lower() for sign in ("401", "unauthenticated", "token")):
        return f"the cluster asks for a token: {copy_it}"
    return (  # a refused token looks to Ray like a cluster that does not answer
        "check cluster.address and that the versions of Ray and Python are the same; if the "
        f"cluster asks for a token, {copy_it}"
    )


def _joining_options() -> dict[str, Any]:
    """What ranks on a cluster that we joined need to find our code.

    An installed package needs nothing. Folders of a checkout are named, which helps on machines
    that have them and does nothing on others; whether the code is the same, the ranks will say.
    """
    roots = _import_roots()
    if _JOB_CONFIG in os.environ:
        return {}  # the job's own environment has the code, and may not be overruled
    if _is_installed() and not set(roots) & set(_said_paths()):
        return {}  # a worker of no special environment starts sooner
    return {"runtime_env": {"env_vars": {"PYTHONPATH": os.pathsep.join([*roots, "${PYTHONPATH}"])}}}


def _is_installed() -> bool:
    try:
        metadata.distribution("videogen")
    except metadata.PackageNotFoundError:
        return False
    return True


def _said_paths() -> list[str]:
    said = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return [str(Path(path).resolve()) for path in said if path]


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
    found = [*_said_paths(), *(str(Path(path).resolve()) for path in ours if path)]
    return list(dict.fromkeys(path for path in found if "-packages" not in path))


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
    """Keep the program's answer to SIGTERM, which Ray replaces with one of its own."""
    answer = signal.getsignal(signal.SIGTERM)
    _set_sigterm(answer)
    try:
        yield
    finally:
        _set_sigterm(answer)


def _set_sigterm(answer: Any) -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, answer)


def _shut_down() -> None:
    """End Ray with the program's answer to SIGTERM in place.

    Ray gives the signal back to the system before it stops its processes, which takes a second
    in which a SIGTERM would kill this one, whatever Python believes its answer to be.
    """
    import ray
    from ray._private import worker

    node = getattr(worker, "_global_node", None)
    stop = getattr(node, "kill_all_processes", None)
    if node is not None and stop is not None:

        def answer_and_stop(*args: Any, **kwargs: Any) -> None:
            with _own_sigterm():
                stop(*args, **kwargs)

        node.kill_all_processes = answer_and_stop
    with _own_sigterm():
        ray.shutdown()


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
