"""Metrics that need weights from a local folder: `vbench.*` and a modern counterpart of each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from videogen.evaluation.metric import Metric, Score, mean
from videogen.evaluation.metrics.vbench import normalise
from videogen.evaluation.signals import Timeline

OTHER_NETWORK = "the folder holds a network of another size than VBench's; its numbers differ"


def consistency(clip: Timeline, kind: str) -> Score:
    """½ (max(0, cos to the frame before) + max(0, cos to the first)), mean over frames."""
    previous, first = clip[f"{kind}_previous"], clip[f"{kind}_first"]
    curve = (np.maximum(previous, 0) + np.maximum(first, 0)) / 2
    return Score(mean(curve), curve)


def _of(kind: str) -> Callable[[Timeline], Score]:
    return lambda clip: consistency(clip, kind)


def _published(name: str, kind: str) -> Callable[[Timeline], Score]:
    """The same, only with the network VBench uses, and scaled by its constants as a detail."""

    def compute(clip: Timeline) -> Score:
        if not clip.extra[f"weights.{kind}"]["published"]:
            return Score(float("nan"))
        score = consistency(clip, kind)
        details = {"normalised": round(normalise(name, score.value), 6)}
        return Score(score.value, score.curve, details)

    return compute


def _row(name: str, kind: str, compute: Callable[[Timeline], Score], about: str) -> Metric:
    return Metric(
        name, "higher", "0-1", (kind,), compute, about, f"transformers-{kind}",
        min_frames=2, weights=kind, absent=OTHER_NETWORK,
    )  # fmt: skip


_SUBJECT, _BACKGROUND = "vbench.subject_consistency", "vbench.background_consistency"
METRICS = (
    _row(_SUBJECT, "dino", _published(_SUBJECT, "dino"), "As VBench, with DINO ViT-B/16."),
    _row(_BACKGROUND, "clip", _published(_BACKGROUND, "clip"), "As VBench, with CLIP ViT-B/32."),
    _row("consistency.dinov2", "dinov2", _of("dinov2"), "VBench's form with DINOv2's class token."),
    _row("consistency.clip", "clip", _of("clip"), "VBench's form with CLIP's image vectors."),
)
