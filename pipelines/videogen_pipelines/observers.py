"""Everything that watches one invocation of a run, put together."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from videogen.errors import StorageError
from videogen.storage import LockLostError
from videogen_cluster.jobs import this_job
from videogen_cluster.metrics import RunMetrics
from videogen_pipelines.cost import GpuMeter
from videogen_pipelines.events import EventLog
from videogen_pipelines.job import Job
from videogen_pipelines.metrics_listener import MetricsListener
from videogen_pipelines.plan import Plan
from videogen_pipelines.progress import Progress
from videogen_pipelines.reporter import Reporter
from videogen_pipelines.run_directory import RunDirectory
from videogen_pipelines.run_listener import (
    EventListener,
    LedgerListener,
    RunListener,
    ScreenListener,
)
from videogen_pipelines.status import State, Status, read_status
from videogen_pipelines.status_board import RunFacts, StatusBoard
from videogen_pipelines.summary import RunSummary

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Observers:
    """Use it as a context; leaving it writes the last status and the end of the event log."""

    job: Job
    ledger: LedgerListener
    events: EventLog
    meter: GpuMeter
    board: StatusBoard
    reporter: Reporter

    @classmethod
    def of(cls, job: Job, run: RunDirectory, invocation: int) -> Observers:
        """For an invocation that begins; it goes on counting what earlier ones have cost."""
        cluster, submission = job.config.cluster, this_job()
        before = _earlier(job)
        meter = GpuMeter(
            cluster.gang.world_size,
            before.gpu_s if before else 0.0,
            before.lost_gpu_s if before else 0.0,
        )
        events = EventLog(job.storage, invocation)
        facts = RunFacts(invocation, cluster.price_per_gpu_hour, submission.id, submission.address)
        board = StatusBoard(facts, meter, events)
        events.add(
            "run_started",
            invocation=invocation,
            manifest=job.report.path,
            model=job.model.stamp.name,
            model_digest=job.model.stamp.digest,
            job_id=submission.id,
        )
        reporter = Reporter(job.storage, invocation, board, events, lambda: _is_ours(run))
        return cls(job, LedgerListener(run), events, meter, board, reporter)

    def listener(self, plan: Plan, progress: Progress) -> RunListener:
        """What the engine tells everything to, once the rows are counted."""
        self.board.planned(plan)
        self.events.add(
            "planned", rows=plan.total, done=plan.done, to_do=plan.to_do, invalid=plan.invalid
        )
        parts = [
            self.ledger,
            ScreenListener(progress),
            self.meter,
            EventListener(self.events),
            self.board,
            MetricsListener(RunMetrics(), self.job.storage, self.meter, plan.to_do),
        ]
        return RunListener(parts, lambda: self.reporter.stop_asked)

    def ended(self, state: State) -> None:
        """Say how the run ended."""
        self.reporter.ended(state)

    def costed(self, summary: RunSummary) -> RunSummary:
        """The summary with what this invocation has lost, and the price of a GPU."""
        return replace(
            summary,
            lost_gpu_s=self.meter.lost_gpu_s - self.meter.lost_before_s,
            price_per_gpu_hour=self.job.config.cluster.price_per_gpu_hour,
        )

    def __enter__(self) -> Self:
        self.reporter.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.reporter.__exit__(kind, error, traceback)


def _is_ours(run: RunDirectory) -> bool:
    try:
        run.check_lock()
    except LockLostError:
        return False
    return True


def _earlier(job: Job) -> Status | None:
    try:
        return read_status(job.storage)
    except StorageError as error:
        logger.warning("what earlier invocations cost is not counted: %s", error)
        return None
