"""`consistency.*`: does what the clip shows stay itself, from frame to frame and over seconds?"""

from __future__ import annotations

import numpy as np

from videogen.evaluation.metric import Metric, Score, mean
from videogen.evaluation.probes.likeness import CURVE_LAGS_S, lag_column
from videogen.evaluation.signals import Timeline

DESCRIPTOR = "descriptor-lab-outline"


def subject(clip: Timeline) -> Score:
    curve = (clip["subject_previous"] + clip["subject_first"]) / 2
    return Score(mean(curve), curve)


def background(clip: Timeline) -> Score:
    curve = (clip["background_previous"] + clip["background_first"]) / 2
    return Score(mean(curve), curve)


def curve_over_lags(clip: Timeline) -> Score:
    """Mean similarity S at each distance in time; the value is the mean over distances."""
    points = {lag: mean(clip[lag_column(lag)]) for lag in CURVE_LAGS_S}
    known = {lag: value for lag, value in points.items() if np.isfinite(value)}
    if not known:
        return Score(float("nan"))
    lags, values = np.array(list(known)), np.array(list(known.values()))
    slope = float(np.polyfit(lags, values, 1)[0]) if len(known) > 1 else 0.0
    details = {
        "similarity": {f"{lag:g}": round(value, 6) for lag, value in known.items()},
        "slope_per_s": round(slope, 6),
    }
    return Score(float(values.mean()), None, details)


METRICS = (
    Metric(
        "consistency.subject", "higher", "0-1", ("likeness",), subject, backend=DESCRIPTOR,
        min_frames=2, about="Likeness of what stands out, to the frame before and to the first.",
    ),
    Metric(
        "consistency.background", "higher", "0-1", ("likeness",), background, backend=DESCRIPTOR,
        min_frames=2, about="The same of the background.",
    ),
    Metric(
        "consistency.curve", "higher", "0-1", ("likeness",), curve_over_lags, backend=DESCRIPTOR,
        min_frames=2, about="Likeness against distance in time, 0.25 to 8 s: its mean and slope.",
        absent="the clip is shorter than 0.25 s",
    ),
)  # fmt: skip
