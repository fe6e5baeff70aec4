"""What a run tells Prometheus, through Ray's own exporter.

Every name here reaches Prometheus with `ray_` in front, as in `ray_videogen_clips_total`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from videogen_cluster.health import Step

PREFIX = "videogen_"
_STEP_BOUNDS_S = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]
_STAGE_BOUNDS_S = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0]
_COUNTERS = {
    "clips_total": ("Clips that have ended, by how.", ("state",)),
    "attempts_total": ("Attempts that have ended; error_class is ok or why not.", ("error_class",)),
    "bytes_total": ("Bytes of finished clips.", ()),
    "storage_replies_total": ("Refusals and retries of the object store.", ("code",)),
    "gpu_seconds_total": ("Seconds of all ranks, useful or lost.", ("use",)),
    "collective_bytes_total": ("Bytes that ranks of gangs sent to each other.", ("axis",)),
    "collective_seconds_total": ("Seconds that ranks of gangs waited for each other.", ("axis",)),
}
_GAUGES = {
    "gangs": ("Gangs by state: waiting, starting, ready.", ("state",)),
    "in_flight": ("Items in the hands of gangs.", ()),
    "clips_left": ("Clips that have not ended.", ()),
}
_HISTOGRAMS = {
    "step_seconds": ("Seconds of one denoising step.", (), _STEP_BOUNDS_S),
    "stage_seconds": ("Seconds of one stage of a clip.", ("stage",), _STAGE_BOUNDS_S),
}


class RunMetrics:
    """The metrics of one run. Before Ray is up, and where it has no exporter, nothing happens."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def clip(self, state: str, count: int = 1) -> None:
        """A clip has ended: `done` or `failed`."""
        self._count("clips_total", count, {"state": state})

    def attempt(self, error_class: str = "ok") -> None:
        """An attempt has ended, well or with an error class."""
        self._count("attempts_total", 1, {"error_class": error_class})

    def gangs(self, **states: int) -> None:
        """How many gangs are in each state now."""
        for state, count in states.items():
            self._set("gangs", count, {"state": state})

    def in_flight(self, count: int) -> None:
        """How many items gangs hold now."""
        self._set("in_flight", count, {})

    def clips_left(self, count: int) -> None:
        """How many clips have not ended."""
        self._set("clips_left", count, {})

    def steps(self, steps: Iterable[Step]) -> None:
        """Denoising steps that were made."""
        for step in steps:
            if step.stage == "denoise":
                self._observe("step_seconds", step.seconds, {})

    def stage(self, stage: str, seconds: float) -> None:
        """How long one stage of a finished clip took."""
        self._observe("stage_seconds", seconds, {"stage": stage})

    def clip_bytes(self, count: int) -> None:
        """The size of a finished clip."""
        self._count("bytes_total", count, {})

    def storage_replies(self, counts: Mapping[str, int]) -> None:
        """Answers of the store since the last call, by code: 412, 409, 503, retries."""
        for code, count in counts.items():
            self._count("storage_replies_total", count, {"code": code})

    def gpu_seconds(self, use: str, seconds: float) -> None:
        """Seconds of ranks that went into a clip (`useful`) or into nothing (`lost`)."""
        self._count("gpu_seconds_total", seconds, {"use": use})

    def collectives(self, sent: Mapping[str, int], waited_s: Mapping[str, float]) -> None:
        """What the ranks of a gang told each other for a clip, by axis of their mesh."""
        for axis, count in sent.items():
            self._count("collective_bytes_total", count, {"axis": axis})
        for axis, seconds in waited_s.items():
            self._count("collective_seconds_total", seconds, {"axis": axis})

    def _count(self, name: str, amount: float, tags: dict[str, str]) -> None:
        if amount > 0 and (metric := self._metric(name)):
            metric.inc(amount, tags)

    def _set(self, name: str, value: float, tags: dict[str, str]) -> None:
        if metric := self._metric(name):
            metric.set(value, tags)

    def _observe(self, name: str, value: float, tags: dict[str, str]) -> None:
        if metric := self._metric(name):
            metric.observe(value, tags)

    def _metric(self, name: str) -> Any:
        if name not in self._made:
            if not _ray_is_up():
                return None
            self._made[name] = _make(name)
        return self._made[name]


def _ray_is_up() -> bool:
    import ray

    return ray.is_initialized()


def _make(name: str) -> Any:
    from ray.util.metrics import Counter, Gauge, Histogram

    full = PREFIX + name
    if name in _HISTOGRAMS:
        text, tags, bounds = _HISTOGRAMS[name]
        return Histogram(full, text, boundaries=bounds, tag_keys=tags)
    if name in _GAUGES:
        text, tags = _GAUGES[name]
        return Gauge(full, text, tag_keys=tags)
    text, tags = _COUNTERS[name]
    return Counter(full, text, tag_keys=tags)
