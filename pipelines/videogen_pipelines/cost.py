"""What a run costs: the seconds its devices gave to clips, the seconds that were lost, money."""

from __future__ import annotations

import time
from collections.abc import Callable

from videogen_cluster.listener import Listener, Snapshot
from videogen_cluster.scheduler import Completed, DeadLettered, Requeued

DEVICE_STAGES = frozenset(["denoise", "decode"])
_SAMPLE_S = 0.5
_FORGET_S = 120.0


def money(gpu_s: float, price_per_gpu_hour: float) -> float | None:
    """The price of so many GPU-seconds; None where no price is known."""
    return gpu_s / 3600 * price_per_gpu_hour if price_per_gpu_hour > 0 else None


class GpuMeter(Listener):
    """Adds up the seconds of all ranks' devices, useful and lost.

    Useful ones are measured by the ranks and stand in the records. Lost ones are estimated: the
    time an attempt was seen denoising or decoding before it failed, or its gang died or hung.

    Args:
        world_size: devices of a gang, all of which work on its clip.
        gpu_s, lost_gpu_s: what earlier invocations counted.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        world_size: int = 1,
        gpu_s: float = 0.0,
        lost_gpu_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._world_size = world_size
        self._clock = clock
        self._sampled_at: float | None = None
        self._attempts: dict[str, tuple[float, float]] = {}  # id -> seconds, last seen
        self.gpu_s = gpu_s
        self.lost_gpu_s = lost_gpu_s
        self.lost_before_s = lost_gpu_s

    @property
    def total_s(self) -> float:
        return self.gpu_s + self.lost_gpu_s

    def completed(self, decision: Completed) -> None:
        self._attempts.pop(decision.item_id, None)
        self.gpu_s += float(decision.record.get("gpu_s") or 0.0)

    def dead_lettered(self, decision: DeadLettered) -> None:
        self._lose(decision.item_id)

    def requeued(self, decision: Requeued) -> None:
        self._lose(decision.item_id)

    def progress(self, snapshot: Snapshot) -> None:
        now = self._clock()
        passed = 0.0 if self._sampled_at is None else now - self._sampled_at
        if self._sampled_at is not None and passed < _SAMPLE_S:
            return
        self._sampled_at = now
        for activity in snapshot.activities:
            if activity.stage in DEVICE_STAGES:
                seconds, _ = self._attempts.get(activity.item_id, (0.0, now))
                self._attempts[activity.item_id] = (seconds + passed, now)
        if len(self._attempts) > 2 * len(snapshot.activities) + 64:
            self._attempts = {
                name: entry for name, entry in self._attempts.items() if now - entry[1] < _FORGET_S
            }

    def _lose(self, item_id: str) -> None:
        seconds, _ = self._attempts.pop(item_id, (0.0, 0.0))
        self.lost_gpu_s += seconds * self._world_size
