"""`Evaluator`: frames in any portions in, all metrics of the clip out, in flat memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from videogen.errors import ConfigError, MediaError
from videogen.evaluation.metric import Metric
from videogen.evaluation.registry import ProbeContext, probes_for, select_metrics
from videogen.evaluation.result import ClipMetrics, MetricResult
from videogen.evaluation.signals import SignalTable, Timeline
from videogen.evaluation.window import Window, lag_frames

DEFAULT_SIZE_PX = 128
MIN_SIZE_PX = 32


class Evaluator:
    """Scores clips, one after the other or several at a time.

    Args:
        names: metrics or families, such as "coherence.score" or "drift"; None is the default set.
        size: shorter side in pixels that frames are brought to before they are measured. Scores
            of different sizes do not compare.

    Raises:
        ConfigError: an unknown metric, or too small a size.
    """

    def __init__(self, names: Iterable[str] | None = None, size: int = DEFAULT_SIZE_PX) -> None:
        if size < MIN_SIZE_PX:
            raise ConfigError(
                f"size: got {size}, expected {MIN_SIZE_PX} px or more. Fix: {DEFAULT_SIZE_PX} is "
                "the size that the constants of coherence.score were found at."
            )
        self.metrics = select_metrics(names)
        self.size = size

    def start(self, fps: float, boundaries: Sequence[int] = ()) -> ClipEvaluation:
        """Begin a clip.

        Args:
            fps: frames per second.
            boundaries: first frame of every chunk the generator joined, if known.
        """
        return ClipEvaluation(self.metrics, self.size, fps, boundaries)

    def evaluate(
        self, frames: np.ndarray | Iterable[np.ndarray], fps: float, boundaries: Sequence[int] = ()
    ) -> ClipMetrics:
        """Score a clip: uint8 `t h w c`, or an iterable of such portions."""
        clip = self.start(fps, boundaries)
        for portion in [frames] if isinstance(frames, np.ndarray) else frames:
            clip.add(portion)
        return clip.finish()


class ClipEvaluation:
    """The evaluation of one clip under way. Get it from `Evaluator.start`."""

    def __init__(
        self, metrics: Sequence[Metric], size: int, fps: float, boundaries: Sequence[int]
    ) -> None:
        if not (np.isfinite(fps) and fps > 0):
            raise ConfigError(f"fps: got {fps}, expected a positive number of frames a second.")
        self._metrics = metrics
        self._fps = float(fps)
        self._boundaries = tuple(sorted(set(map(int, boundaries))))
        lag = lag_frames(fps)
        self._window = Window(size, lag)
        self._signals = SignalTable(probes_for(metrics, ProbeContext(self._fps)), lag)
        self._shape: tuple[int, ...] = ()
        self._num_frames = 0

    def add(self, frames: np.ndarray) -> None:
        """Take the next frames, uint8 `t h w c` (RGB), any number of them.

        Raises:
            MediaError: another type or shape, or another size than the frames before.
        """
        self._check(frames)
        for frame in frames:
            self._window.push(frame.copy())
            self._signals.measure(self._window)
            self._num_frames += 1

    def finish(self) -> ClipMetrics:
        """Metrics of all frames so far.

        Raises:
            MediaError: there were none.
        """
        if not self._num_frames:
            raise MediaError("evaluation: got no frames, expected at least one.")
        timeline = Timeline(
            self._num_frames,
            self._fps,
            self._window.lag,
            self._signals.arrays(),
            self._boundaries,
        )
        results, skipped = _compute(self._metrics, timeline)
        return ClipMetrics(
            num_frames=self._num_frames,
            fps=self._fps,
            height=self._shape[0],
            width=self._shape[1],
            size=self._window.size,
            lag=self._window.lag,
            results=results,
            skipped=skipped,
        )

    def _check(self, frames: np.ndarray) -> None:
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
            raise MediaError(
                f"frames: got {frames.dtype} {frames.shape}, expected uint8 [t h w 3] in RGB."
            )
        self._shape = self._shape or frames.shape[1:]
        if frames.shape[1:] != self._shape:
            raise MediaError(
                f"frames: got {frames.shape[1:]} after {self._shape}, expected one size in a clip. "
                "Fix: start an evaluation for each clip."
            )


def _compute(
    metrics: Sequence[Metric], timeline: Timeline
) -> tuple[dict[str, MetricResult], dict[str, str]]:
    results: dict[str, MetricResult] = {}
    skipped: dict[str, str] = {}
    for metric in metrics:
        if timeline.num_frames < _least(metric, timeline.lag):
            skipped[metric.name] = f"needs {_least(metric, timeline.lag)} frames"
            continue
        score = metric.compute(timeline)
        if np.isfinite(score.value):
            results[metric.name] = metric.result(score)
        else:
            skipped[metric.name] = metric.absent
    return results, skipped


def _least(metric: Metric, lag: int) -> int:
    """Frames a metric needs; one that follows motion needs whole lags."""
    return (metric.min_frames - 1) * lag + 1
