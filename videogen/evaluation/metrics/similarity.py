"""`text.similarity` and `text.rank`: clip and prompt as the text-video encoder sees them."""

from __future__ import annotations

import numpy as np

from videogen.evaluation.metric import Metric, Score
from videogen.evaluation.probes.similarity import Stretch
from videogen.evaluation.signals import Timeline

UNKNOWN = "needs a prompt all of whose words the text-video encoder knows"
NOTHING_NAMED = f"{UNKNOWN}, and that names a colour, shape, motion, background or camera of it"
BACKEND = "videogen-text-video-2"
DEFAULT = False
"""Until the encoder knows shapes as well as colours (docs/evaluation.md)."""
DIGITS = 6
"""Rounded, so that the number of threads does not show."""


def similarity(clip: Timeline) -> Score:
    """Cosine of clip and prompt; of several stretches their mean."""
    stretches: list[Stretch] | None = clip.extra.get("similarity")
    if not stretches:
        return Score(float("nan"))
    numbers = [stretch.cosine for stretch in stretches]
    facts = {"weights_sha256": clip.extra["similarity_weights"]}
    return Score(_mean(numbers), _curve(clip.num_frames, stretches, numbers), facts)


def rank(clip: Timeline) -> Score:
    """Share of the prompts that differ in one thing which are further from the clip."""
    stretches: list[Stretch] | None = clip.extra.get("similarity")
    if not stretches or not stretches[0].lead:
        return Score(float("nan"))
    numbers = [_share(np.concatenate(list(stretch.lead.values()))) for stretch in stretches]
    by_kind = {
        kind: _mean([_share(stretch.lead[kind]) for stretch in stretches])
        for kind in stretches[0].lead
    }
    return Score(_mean(numbers), _curve(clip.num_frames, stretches, numbers), by_kind)


def _share(lead: np.ndarray) -> float:
    return float((lead > 0).mean())


def _mean(numbers: list[float]) -> float:
    return round(float(np.mean(numbers)), DIGITS)


def _curve(num_frames: int, stretches: list[Stretch], numbers: list[float]) -> np.ndarray:
    """Every frame has the number of its stretch."""
    curve = np.full(num_frames, np.nan, np.float32)
    for stretch, number in zip(stretches, numbers, strict=True):
        curve[stretch.first : stretch.end] = round(number, DIGITS)
    return curve


METRICS = (
    Metric(
        "text.similarity", "higher", "cosine", ("similarity",), similarity, backend=BACKEND,
        absent=UNKNOWN, default=DEFAULT,
        about="Cosine of clip and prompt by this package's own text-video encoder.",
    ),
    Metric(
        "text.rank", "higher", "0-1", ("similarity",), rank, backend=BACKEND,
        absent=NOTHING_NAMED, default=DEFAULT,
        about="Share of prompts with one thing exchanged that fit the clip less than its own.",
    ),
)  # fmt: skip
