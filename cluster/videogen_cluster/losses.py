"""Why a rank is gone: Ray's many death errors, read into one `Failure`."""

from __future__ import annotations

import re
from pathlib import Path

import ray
from ray.exceptions import (
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayError,
)

from videogen_cluster.failures import MESSAGE_CHARACTERS, ErrorClass, Failure

_LOG_TAIL_CHARACTERS = 2_000
_NOISE = ("class_name:", "actor_id:", "name:", "namespace:")
_GUESSES = re.compile("There are some potential root causes|Some common causes include")
# Ray has no class of its own for an actor that its memory monitor killed.
_MEMORY_MONITOR = "running low on memory"
_NODE_DIED = "because its node has died"
# A worker that cannot unpickle the rank has no such package, and never will.
_MISSING = ("No module named 'videogen", "ModuleNotFoundError")
_INSTALL = " Fix: install videogen on every node of the cluster, or use `videogen submit`."


def explain_loss(error: RayError, node_id: str | None, log: str = "") -> Failure:
    """Class and message of a rank's end.

    Args:
        error: what the reference to its answer raised.
        node_id: where the rank ran, if it got so far.
        log: the end of the rank's own error output.
    """
    lines = (line.strip() for line in str(error).splitlines())
    told = " ".join(line for line in lines if line and not line.startswith(_NOISE))
    message = _GUESSES.split(told)[0].strip()[:MESSAGE_CHARACTERS]
    error_class = _loss_class(error, node_id)
    if error_class is ErrorClass.ENVIRONMENT:
        message += _INSTALL
    return Failure(error_class, message, log)


def _loss_class(error: RayError, node_id: str | None) -> ErrorClass:
    if isinstance(error, NodeDiedError) or (isinstance(error, RayActorError) and error.preempted):
        return ErrorClass.PREEMPTION
    if _NODE_DIED in str(error):
        return ErrorClass.PREEMPTION
    if any(sign in str(error) for sign in _MISSING):
        return ErrorClass.ENVIRONMENT
    if isinstance(error, OutOfMemoryError) or _MEMORY_MONITOR in str(error):
        return ErrorClass.OUT_OF_MEMORY
    is_node_gone = node_id is not None and not _is_alive(node_id)
    return ErrorClass.PREEMPTION if is_node_gone else ErrorClass.RANK_DEATH


def _is_alive(node_id: str) -> bool:
    return any(node["NodeID"] == node_id and node["Alive"] for node in ray.nodes())


def log_tail(logs: Path | None, pid: int | None) -> str:
    """The end of what a rank wrote to its error output, such as a native stack trace."""
    if logs is None or pid is None:
        return ""
    found = sorted(logs.glob(f"worker-*-{pid}.err"))
    if not found:
        return ""
    text = found[-1].read_bytes()[-_LOG_TAIL_CHARACTERS:]
    return text.decode("utf-8", "replace").strip()
