"""`vbench.*`: numbers computed exactly as VBench (Huang et al., 2024) publishes them."""

from __future__ import annotations

from videogen.evaluation.metric import Metric, Score, mean
from videogen.evaluation.signals import Timeline

NORMALISATION: dict[str, tuple[float, float]] = {
    "vbench.subject_consistency": (0.1462, 1.0),
    "vbench.background_consistency": (0.2615, 1.0),
    "vbench.temporal_flickering": (0.6293, 1.0),
    "vbench.motion_smoothness": (0.706, 0.9975),
    "vbench.dynamic_degree": (0.0, 1.0),
}
"""Least and largest value of each dimension, as its leaderboard scales them; nothing is clipped."""


def normalise(name: str, value: float) -> float:
    """Scale a `vbench.*` value as the leaderboard does: (value - least) / (largest - least)."""
    least, largest = NORMALISATION[name]
    return (value - least) / (largest - least)


def temporal_flickering(clip: Timeline) -> Score:
    """(255 - mean over pairs of the mean absolute difference) / 255, native size and rate."""
    curve = (255 - clip["mae_native"].astype("float64")) / 255
    value = mean(curve)
    details = {"normalised": round(normalise("vbench.temporal_flickering", value), 6)}
    return Score(value, curve, details)


METRICS = (
    Metric(
        "vbench.temporal_flickering", "higher", "0-1", ("change",), temporal_flickering,
        min_frames=2, about="As VBench publishes it; meant for clips that stand still.",
    ),
)  # fmt: skip
