"""`StatusBoard`: hears what happens in a run and says at any moment how the run stands."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from videogen_cluster.failures import Failure
from videogen_cluster.listener import Listener, Snapshot
from videogen_cluster.scheduler import Completed, DeadLettered
from videogen_pipelines.control import StopRequest
from videogen_pipelines.cost import GpuMeter, money
from videogen_pipelines.events import EventLog, gang_name
from videogen_pipelines.plan import Plan
from videogen_pipelines.redact import redact
from videogen_pipelines.sidecar import now
from videogen_pipelines.status import Coordinator, Gangs, InFlight, State, Status

RATE_WINDOW_S = 300
MAX_IN_FLIGHT = 1000
MAX_MESSAGE = 2000


class Rate:
    """Clips a minute over the last five minutes, or since the first gang was ready."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started: float | None = None
        self._counts: deque[list[int]] = deque()  # [second, clips that ended in it]

    def start(self) -> None:
        """A gang is ready; only the first time counts."""
        if self._started is None:
            self._started = self._clock()

    def add(self) -> None:
        """A clip ended."""
        second = int(self._clock())
        if self._counts and self._counts[-1][0] == second:
            self._counts[-1][1] += 1
        else:
            self._counts.append([second, 1])

    def per_minute(self) -> float | None:
        """None while nothing is known."""
        at = self._clock()
        while self._counts and self._counts[0][0] < at - RATE_WINDOW_S:
            self._counts.popleft()
        ended = sum(count for _, count in self._counts)
        if self._started is None or not ended:
            return None
        return 60 * ended / min(max(at - self._started, 1.0), RATE_WINDOW_S)


@dataclass(frozen=True)
class RunFacts:
    """What does not change while an invocation lasts."""

    invocation: int
    price_per_gpu_hour: float = 0.0
    job_id: str | None = None
    address: str | None = None


class StatusBoard(Listener):
    """Gathers in the driver's thread; `status` may be called from any."""

    def __init__(
        self,
        facts: RunFacts,
        meter: GpuMeter,
        events: EventLog,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._facts = facts
        self._meter = meter
        self._events = events
        self._rate = Rate(clock)
        self._lock = threading.Lock()
        self._started_at = now()
        self._state: State = "starting"
        self._message: str | None = None
        self._told: StopRequest | None = None
        self._rows: int | None = None
        self._done = 0
        self._failed = 0
        self._errors: Counter[str] = Counter()
        self._gangs_lost = 0
        self._snapshot: Snapshot | None = None

    def planned(self, plan: Plan) -> None:
        """The rows are counted; bad ones and those whose failure stands are failures already."""
        with self._lock:
            self._rows, self._done, self._failed = plan.total, plan.done, plan.failed
            self._errors.update(plan.failed_by_class)

    def asked(self, request: StopRequest) -> None:
        """Somebody asked this invocation to stop."""
        with self._lock:
            self._told = request

    def ended(self, state: State, message: str | None = None) -> None:
        """The invocation is over."""
        with self._lock:
            self._state = state
            self._message = redact(message)[:MAX_MESSAGE] if message else None
            self._snapshot = None

    def completed(self, decision: Completed) -> None:
        with self._lock:
            self._done += 1
            self._rate.add()

    def dead_lettered(self, decision: DeadLettered) -> None:
        with self._lock:
            self._failed += 1
            self._errors[str(decision.failure.error_class)] += 1
            self._rate.add()

    def gang_ready(self, gang: int) -> None:
        with self._lock:
            self._rate.start()

    def gang_lost(self, gang: int, failure: Failure) -> None:
        with self._lock:
            self._gangs_lost += 1

    def progress(self, snapshot: Snapshot) -> None:
        with self._lock:
            self._snapshot = snapshot
            self._state = "draining" if snapshot.stopping else "running"

    def status(self) -> Status:
        """How the run stands now."""
        with self._lock:
            pending = None if self._rows is None else self._rows - self._done - self._failed
            speed = self._rate.per_minute()
            price = self._facts.price_per_gpu_hour
            snapshot = self._snapshot
            return Status(
                invocation=self._facts.invocation,
                state=self._state,
                message=self._message,
                started_at=self._started_at,
                updated_at=now(),
                rows=self._rows,
                done=self._done,
                failed=self._failed,
                pending=pending,
                in_flight=_in_flight(snapshot),
                gangs=Gangs(
                    ready=snapshot.gangs_ready if snapshot else 0,
                    total=snapshot.gangs_total if snapshot else 0,
                    lost=self._gangs_lost,
                ),
                clips_per_minute=speed,
                eta_s=60 * pending / speed if pending and speed else None,
                gpu_s=self._meter.gpu_s,
                lost_gpu_s=self._meter.lost_gpu_s,
                price_per_gpu_hour=price,
                cost=money(self._meter.total_s, price),
                errors_by_class=dict(self._errors.most_common()),
                recent_events=tuple(self._events.recent()),
                told=self._told,
                coordinator=Coordinator(node=socket.gethostname(), pid=os.getpid()),
                job_id=self._facts.job_id,
                address=self._facts.address,
            )


def _in_flight(snapshot: Snapshot | None) -> tuple[InFlight, ...]:
    items = snapshot.in_flight[:MAX_IN_FLIGHT] if snapshot else ()
    return tuple(
        InFlight(
            id=item.item_id,
            gang=gang_name(item.gang),
            stage=item.stage,
            step=item.step,
            total=item.total,
        )
        for item in items
    )
