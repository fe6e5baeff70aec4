"""What listens to a run: the ledger first, then the screen, the event log, the status, the meters.

Each of them knows one thing; `RunListener` passes everything on to all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from videogen_cluster.failures import ErrorClass, Failure
from videogen_cluster.listener import Listener, Snapshot
from videogen_cluster.scheduler import Completed, DeadLettered, Requeued
from videogen_pipelines.events import EventLog, gang_name
from videogen_pipelines.progress import Progress
from videogen_pipelines.redact import redact
from videogen_pipelines.run_directory import RunDirectory

_GANG_LOSSES = (ErrorClass.RANK_DEATH, ErrorClass.HANG, ErrorClass.PREEMPTION)


class RunListener(Listener):
    """Passes everything on, in order; what the first of them raises ends the run.

    Args:
        parts: the listeners, the one that must not miss anything first.
        stop_asked: whether somebody told the run to stop.
    """

    def __init__(
        self, parts: Sequence[Listener], stop_asked: Callable[[], bool] = lambda: False
    ) -> None:
        self._parts = parts
        self._stop_asked = stop_asked

    def completed(self, decision: Completed) -> None:
        for part in self._parts:
            part.completed(decision)

    def dead_lettered(self, decision: DeadLettered) -> None:
        for part in self._parts:
            part.dead_lettered(decision)

    def requeued(self, decision: Requeued) -> None:
        for part in self._parts:
            part.requeued(decision)

    def gang_building(self, gang: int) -> None:
        for part in self._parts:
            part.gang_building(gang)

    def gang_ready(self, gang: int) -> None:
        for part in self._parts:
            part.gang_ready(gang)

    def gang_lost(self, gang: int, failure: Failure) -> None:
        for part in self._parts:
            part.gang_lost(gang, failure)

    def gang_retired(self, gang: int, reason: str) -> None:
        for part in self._parts:
            part.gang_retired(gang, reason)

    def node_joined(self, node_id: str, name: str) -> None:
        for part in self._parts:
            part.node_joined(node_id, name)

    def node_left(self, node_id: str, name: str) -> None:
        for part in self._parts:
            part.node_left(node_id, name)

    def progress(self, snapshot: Snapshot) -> None:
        for part in self._parts:
            part.progress(snapshot)

    def wants_stop(self) -> bool:
        return self._stop_asked()


class LedgerListener(Listener):
    """Indexes what ended. Its failures are the run's."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self.done = 0
        self.failed = 0

    def completed(self, decision: Completed) -> None:
        self.done += 1
        self._run.record_done(decision.record)

    def dead_lettered(self, decision: DeadLettered) -> None:
        self.failed += 1
        failure = decision.failure
        self._run.record_failure(
            decision.item_id, failure.error_class, redact(failure.message), decision.attempts
        )

    def progress(self, snapshot: Snapshot) -> None:
        self._run.tick()


class ScreenListener(Listener):
    """Tells the person who waits."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._stopping = False

    def dead_lettered(self, decision: DeadLettered) -> None:
        self._progress.say(
            f"failed {decision.item_id} after {decision.attempts} attempts: "
            f"{_why(decision.failure)}"
        )

    def requeued(self, decision: Requeued) -> None:
        failure = decision.failure
        if failure.error_class in _GANG_LOSSES:  # said in full when the gang was lost
            self._progress.say(f"again {decision.item_id}: {failure.error_class}")
        elif failure.error_class is not ErrorClass.CANCELLED:
            self._progress.say(f"again {decision.item_id}: {_why(failure)}")

    def gang_lost(self, gang: int, failure: Failure) -> None:
        self._progress.say(f"lost gang {gang}: {_why(failure)}")

    def progress(self, snapshot: Snapshot) -> None:
        if snapshot.stopping and not self._stopping:
            self._stopping = True
            self._progress.say("stopping: clips in flight may finish; once more to stop at once")
        self._progress.update(snapshot)


class EventListener(Listener):
    """Writes the run's diary."""

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._draining = False

    def completed(self, decision: Completed) -> None:
        record = decision.record
        self._events.add(
            "clip_done",
            id=decision.item_id,
            attempts=decision.attempts,
            gang=record.get("gang"),
            node=record.get("node"),
            gpu_s=record.get("gpu_s"),
        )

    def dead_lettered(self, decision: DeadLettered) -> None:
        self._add_failure("clip_failed", decision)

    def requeued(self, decision: Requeued) -> None:
        # `redone`: work on it was lost, and not only its place in a gang's queue.
        self._add_failure("clip_again", decision, redone=decision.started)

    def gang_building(self, gang: int) -> None:
        self._events.add("gang_building", gang=gang_name(gang))

    def gang_ready(self, gang: int) -> None:
        self._events.add("gang_ready", gang=gang_name(gang))

    def gang_lost(self, gang: int, failure: Failure) -> None:
        self._events.add(
            "gang_lost",
            gang=gang_name(gang),
            error_class=str(failure.error_class),
            message=failure.message,
            node=failure.node,
            detected_s=failure.detected_s,
        )

    def gang_retired(self, gang: int, reason: str) -> None:
        self._events.add("gang_retired", gang=gang_name(gang), message=reason)

    def node_joined(self, node_id: str, name: str) -> None:
        self._events.add("node_joined", node=name, node_id=node_id)

    def node_left(self, node_id: str, name: str) -> None:
        self._events.add("node_left", node=name, node_id=node_id)

    def progress(self, snapshot: Snapshot) -> None:
        if snapshot.stopping and not self._draining:
            self._draining = True
            self._events.add("draining", gangs=snapshot.gangs_ready)

    def _add_failure(
        self, event: str, decision: DeadLettered | Requeued, redone: bool | None = None
    ) -> None:
        self._events.add(
            event,
            id=decision.item_id,
            attempts=decision.attempts,
            error_class=str(decision.failure.error_class),
            message=decision.failure.message,
            redone=redone,
        )


def _why(failure: Failure) -> str:
    return redact(f"{failure.error_class}: {failure.message}")
