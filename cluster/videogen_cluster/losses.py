"""Why a rank is gone: Ray's many death errors, read into one `Failure`."""

from __future__ import annotations

from pathlib import Path

import ray
from ray.exceptions import (
    ActorUnavailableError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayError,
)

from videogen_cluster.failures import MESSAGE_CHARACTERS, ErrorClass, Failure

_LOG_TAIL_CHARACTERS = 2_000
# Ray has no class of its own for an actor that its memory monitor killed.
_MEMORY_MONITOR = "running low on memory"


def explain_loss(error: RayError, node_id: str | None, log: str = "") -> Failure:
    """Class and message of a rank's end.

    Args:
        error: what the reference to its answer raised.
        node_id: where the rank ran, if it got so far.
        log: the end of the rank's own error output.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    message = " ".join(lines)[:MESSAGE_CHARACTERS]
    return Failure(_loss_class(error, node_id), message, log)


def _loss_class(error: RayError, node_id: str | None) -> ErrorClass:
    if isinstance(error, NodeDiedError) or (isinstance(error, RayActorError) and error.preempted):
        return ErrorClass.PREEMPTION
    if isinstance(error, OutOfMemoryError) or _MEMORY_MONITOR in str(error):
        return ErrorClass.OUT_OF_MEMORY
    if isinstance(error, ActorUnavailableError) or node_id is not None:
        return ErrorClass.RANK_DEATH if _is_alive(node_id) else ErrorClass.PREEMPTION
    return ErrorClass.RANK_DEATH


def _is_alive(node_id: str | None) -> bool:
    if node_id is None:
        return True
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
