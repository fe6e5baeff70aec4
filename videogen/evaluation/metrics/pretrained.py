"""Metrics that need weights from a local folder: `vbench.*` and a modern counterpart of each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from videogen.evaluation.metric import Metric, Score, mean
from videogen.evaluation.metrics.vbench import normalise
from videogen.evaluation.signals import Timeline

OTHER_NETWORK = "the folder holds a network of another size than VBench's; its numbers differ"

TOO_SMALL = "RAFT needs two frames at 8 a second, and a shorter side of 121 px"


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


def dynamic_degree(clip: Timeline) -> Score:
    """1 where enough of the sampled pairs move: round(n / 4) of n frames, 6 px at 256 px."""
    facts = clip.extra["raft"]
    speeds = clip["raft_top"][np.isfinite(clip["raft_top"])]
    if not len(speeds):
        return Score(float("nan"))
    least_px = max(1.0, 8.0 / clip.fps) * 6.0 * facts["side"] / 256.0
    least_pairs = round(4 * facts["sampled"] / 16.0)
    moving = int((speeds > least_px).sum())
    details = {"moving_pairs": moving, "least_pairs": least_pairs, "least_px": round(least_px, 6)}
    return Score(float(moving >= least_pairs), clip["raft_top"], details)


def static(clip: Timeline) -> Score:
    """1 where a clip passes VBench's static filter: few pairs move, and the ends stay near."""
    ends = clip.extra.get("raft_ends")
    if ends is None or clip.num_frames < 2:
        return Score(float("nan"))
    most_px = 3.0 * (ends["side"] / 256.0)
    most_pairs = round(2 * (clip.num_frames / 16.0))
    moving = int((clip["raft_static"] > most_px).sum())
    stays = max(ends["speeds"]) <= most_px * most_pairs * 2
    return Score(float(moving <= most_pairs and stays), clip["raft_static"])


_SUBJECT, _BACKGROUND = "vbench.subject_consistency", "vbench.background_consistency"
METRICS = (
    _row(_SUBJECT, "dino", _published(_SUBJECT, "dino"), "As VBench, with DINO ViT-B/16."),
    _row(_BACKGROUND, "clip", _published(_BACKGROUND, "clip"), "As VBench, with CLIP ViT-B/32."),
    Metric(
        "vbench.dynamic_degree",
        "info",
        "0/1",
        ("raft",),
        dynamic_degree,
        backend="raft-things",
        min_frames=2,
        weights="raft",
        absent=TOO_SMALL,
        about="As VBench, with RAFT: whether the clip moves at all.",
    ),
    Metric(
        "vbench.static",
        "info",
        "0/1",
        ("raft_static",),
        static,
        backend="raft-things",
        min_frames=2,
        weights="raft",
        absent=TOO_SMALL,
        about="Whether VBench's static filter keeps the clip for temporal flickering, with RAFT.",
    ),
    _row("consistency.dinov2", "dinov2", _of("dinov2"), "VBench's form with DINOv2's class token."),
    _row("consistency.clip", "clip", _of("clip"), "VBench's form with CLIP's image vectors."),
)
