"""`Evaluator`: frames in any portions in, all metrics of the clip out, in flat memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from videogen.errors import ConfigError, MediaError
from videogen.evaluation.backends.folders import check_folder, wanted
from videogen.evaluation.metric import Metric
from videogen.evaluation.registry import ProbeContext, probes_for, select_metrics
from videogen.evaluation.result import ClipMetrics, MetricResult
from videogen.evaluation.signals import SignalTable, Timeline
from videogen.evaluation.window import Window, lag_frames

if TYPE_CHECKING:
    from videogen.evaluation.backends.encoders import FrameEncoder, PublishedFlow
    from videogen.evaluation.backends.text_video import TextVideoReader

    Network = FrameEncoder | PublishedFlow | TextVideoReader

DEFAULT_SIZE_PX = 128
MIN_SIZE_PX = 32
FOLLOW_MOTION = frozenset({"pair", "triple"})
"""Probes that look at frames a lag apart; the others look at adjacent ones."""


class Evaluator:
    """Scores clips, one after the other or several at a time; it holds no state of a clip.

    Args:
        names: metrics or families, such as "coherence.score" or "drift"; None is the default set.
        size: shorter side in pixels that frames are brought to before they are measured. Scores
            of different sizes do not compare.
        weights: local folders of networks by kind ("clip", "dinov2", "dino", "raft",
            "text-video"). Metrics whose weights are not given are skipped and say so;
            `text.similarity` then uses the encoder of this package.
        feature: also compute `ClipMetrics.feature`, for comparing sets of clips.
        device: where pretrained networks run.

    Raises:
        ConfigError: an unknown metric or kind of weights, or too small a size.
        WeightsError: a weights folder is incomplete; says which files were expected.
    """

    def __init__(
        self,
        names: Iterable[str] | None = None,
        size: int = DEFAULT_SIZE_PX,
        weights: Mapping[str, str | Path] | None = None,
        feature: bool = False,
        device: str = "cpu",
    ) -> None:
        if size < MIN_SIZE_PX:
            raise ConfigError(
                f"size: got {size}, expected {MIN_SIZE_PX} px or more. Fix: {DEFAULT_SIZE_PX} is "
                "the size that the constants of coherence.score were found at."
            )
        self.metrics = select_metrics(names)
        self.size = size
        self.encoders = _load(weights, device) if weights else {}
        self.probes = self._probes(feature)

    def start(
        self, fps: float, prompt: str | None = None, boundaries: Sequence[int] = ()
    ) -> ClipEvaluation:
        """Begin a clip.

        Args:
            fps: frames per second.
            prompt: what the clip should show; without it `text.*` is skipped.
            boundaries: first frame of every chunk the generator joined, if known.
        """
        return ClipEvaluation(self, fps, prompt, boundaries)

    def evaluate(
        self,
        frames: np.ndarray | Iterable[np.ndarray],
        fps: float,
        prompt: str | None = None,
        boundaries: Sequence[int] = (),
    ) -> ClipMetrics:
        """Score a clip: uint8 `t h w c`, or an iterable of such portions."""
        clip = self.start(fps, prompt, boundaries)
        for portion in [frames] if isinstance(frames, np.ndarray) else frames:
            clip.add(portion)
        return clip.finish()

    def runs(self, metric: Metric) -> bool:
        """Whether the weights that a metric needs, if any, are here."""
        return not metric.weights or metric.weights in self.encoders

    def _probes(self, feature: bool) -> frozenset[str]:
        needed = {name for metric in self.metrics if self.runs(metric) for name in metric.probes}
        return frozenset(needed | ({"feature"} if feature else set()))


def _load(weights: Mapping[str, str | Path], device: str) -> dict[str, Network]:
    return {kind: _load_kind(kind, folder, device) for kind, folder in weights.items()}


def _load_kind(kind: str, folder: str | Path, device: str) -> Network:
    if kind == "text-video":
        from videogen.evaluation.backends.text_video import TextVideoReader

        check_folder(kind, Path(folder))
        return TextVideoReader(Path(folder))
    from videogen.evaluation.backends.encoders import load_encoder, load_flow  # needs torch

    return load_flow(folder, device) if kind == "raft" else load_encoder(kind, folder, device)


class ClipEvaluation:
    """The evaluation of one clip under way. Get it from `Evaluator.start`."""

    def __init__(
        self, evaluator: Evaluator, fps: float, prompt: str | None, boundaries: Sequence[int]
    ) -> None:
        if not (np.isfinite(fps) and fps > 0):
            raise ConfigError(f"fps: got {fps}, expected a positive number of frames a second.")
        self._evaluator = evaluator
        self._fps = float(fps)
        self._boundaries = tuple(sorted(set(map(int, boundaries))))
        self._window = Window(evaluator.size, lag_frames(fps))
        context = ProbeContext(self._fps, prompt, evaluator.encoders)
        self._signals = SignalTable(probes_for(evaluator.probes, context), self._window.lag)
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

    def timeline(self) -> Timeline:
        """All measurements so far, as the metrics read them."""
        return Timeline(
            self._num_frames,
            self._fps,
            self._window.lag,
            self._signals.arrays(),
            self._boundaries,
            self._signals.conclusions(),
        )

    def finish(self) -> ClipMetrics:
        """Metrics of all frames so far.

        Raises:
            MediaError: there were none.
        """
        if not self._num_frames:
            raise MediaError("evaluation: got no frames, expected at least one.")
        timeline = self.timeline()
        results, skipped = _compute(self._evaluator, timeline)
        return ClipMetrics(
            num_frames=self._num_frames,
            fps=self._fps,
            height=self._shape[0],
            width=self._shape[1],
            size=self._window.size,
            lag=self._window.lag,
            results=results,
            skipped=skipped,
            feature=timeline.extra.get("feature"),
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
    evaluator: Evaluator, timeline: Timeline
) -> tuple[dict[str, MetricResult], dict[str, str]]:
    results: dict[str, MetricResult] = {}
    skipped: dict[str, str] = {}
    for metric in evaluator.metrics:
        reason = _obstacle(metric, evaluator, timeline)
        if reason:
            skipped[metric.name] = reason
            continue
        score = metric.compute(timeline)
        if np.isfinite(score.value):
            encoder = evaluator.encoders.get(metric.weights)
            results[metric.name] = metric.result(score, _provenance(encoder))
        else:
            skipped[metric.name] = metric.absent
    return results, skipped


def _provenance(encoder: Network | None) -> dict[str, str]:
    return {"weights_sha256": encoder.sha256} if encoder else {}


def _obstacle(metric: Metric, evaluator: Evaluator, timeline: Timeline) -> str:
    """Why a metric cannot be computed; empty if it can."""
    if not evaluator.runs(metric):
        return f"needs weights.{metric.weights}: {wanted(metric.weights)}"
    step = timeline.lag if FOLLOW_MOTION & set(metric.probes) else 1
    least = (metric.min_frames - 1) * step + 1
    return f"needs {least} frames" if timeline.num_frames < least else ""
