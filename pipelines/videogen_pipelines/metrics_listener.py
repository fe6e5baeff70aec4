"""Hands what the records of clips say to Prometheus; the engine reports gangs and steps itself."""

from __future__ import annotations

from collections import Counter

from videogen.storage import Storage
from videogen_cluster.listener import Listener, Snapshot
from videogen_cluster.metrics import RunMetrics
from videogen_cluster.scheduler import Completed, DeadLettered
from videogen_pipelines.cost import GpuMeter
from videogen_pipelines.summary import STAGES

_REPLIES = ("412", "409", "503", "retries")


class MetricsListener(Listener):
    """Clips by state and left, seconds by stage, bytes, replies, GPU-seconds, traffic in gangs.

    Args:
        to_do: clips that this invocation is to make; None if nobody knows.
        meter: heard before this one, so that it has counted what this one reports.
    """

    def __init__(
        self, metrics: RunMetrics, storage: Storage, meter: GpuMeter, to_do: int | None = None
    ) -> None:
        self._metrics = metrics
        self._to_do = to_do
        self._storage = storage
        self._meter = meter
        self._useful_s = meter.gpu_s
        self._lost_s = meter.lost_gpu_s
        self._replies: Counter[str] = Counter()

    def completed(self, decision: Completed) -> None:
        record = decision.record
        self._metrics.clip("done")
        self._metrics.clip_bytes(int(record.get("bytes") or 0))
        for stage in STAGES:
            if record.get(stage) is not None:
                self._metrics.stage(stage.removesuffix("_s"), float(record[stage]))
        if parallel := record.get("parallel"):
            self._metrics.collectives(parallel["bytes"], parallel["seconds"])

    def dead_lettered(self, decision: DeadLettered) -> None:
        self._metrics.clip("failed")

    def progress(self, snapshot: Snapshot) -> None:
        if self._to_do is not None:
            ended = snapshot.completed + snapshot.dead_lettered
            self._metrics.clips_left(self._to_do - ended)
        self._metrics.gpu_seconds("useful", self._meter.gpu_s - self._useful_s)
        self._metrics.gpu_seconds("lost", self._meter.lost_gpu_s - self._lost_s)
        self._useful_s, self._lost_s = self._meter.gpu_s, self._meter.lost_gpu_s
        found = self._storage.counters.snapshot()
        replies = Counter({code: found.get(code, 0) for code in _REPLIES})
        self._metrics.storage_replies(replies - self._replies)
        self._replies = replies
