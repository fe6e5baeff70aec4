"""`cut.*` and `seam.*`: steps where there should be none, anywhere and at known places."""

from __future__ import annotations

import numpy as np

from videogen.evaluation.metric import DIS, Metric, Score
from videogen.evaluation.metrics.motion import skips
from videogen.evaluation.signals import Timeline

Z_FLOOR = 0.1
"""Least spread of the step, so that a perfectly even clip has no infinite outliers."""
CUT_Z = 6.0


def steps(clip: Timeline) -> np.ndarray:
    """float32 `[t]`: how big a step each frame is: unexplained change, colours, likeness, place."""
    adjacent = clip["residual_all"] * 10 + clip["palette"] * 2
    unlike = 2 - clip["subject_previous"] - clip["background_previous"]
    return adjacent + unlike + np.maximum(0, skips(clip)) / 2


def robust_z(curve: np.ndarray) -> np.ndarray:
    """Distance from the median in robust standard deviations, at least 0."""
    centre = np.nanmedian(curve)
    spread = 1.4826 * np.nanmedian(np.abs(curve - centre))
    return np.maximum(0, (curve - centre) / (spread + Z_FLOOR))


def jump(clip: Timeline) -> Score:
    curve = robust_z(steps(clip))
    cuts = [int(i) for i in np.flatnonzero(curve > CUT_Z)]
    times = [round(i / clip.fps, 6) for i in cuts]
    return Score(float(np.nanmax(curve)), curve, {"cuts": cuts, "cuts_s": times})


def count(clip: Timeline) -> Score:
    curve = robust_z(steps(clip))
    return Score(float(np.nansum(curve > CUT_Z)))


def seam(clip: Timeline) -> Score:
    """Mean step at the boundaries less the median elsewhere."""
    curve = steps(clip)
    places = [b for b in clip.boundaries if 0 < b < clip.num_frames]
    if not places:
        return Score(float("nan"))
    at = np.zeros(len(curve), bool)
    at[places] = True
    elsewhere = curve[~at & np.isfinite(curve)]
    usual = float(np.median(elsewhere)) if len(elsewhere) else 0.0
    excess = np.where(at, curve - usual, np.nan)
    return Score(float(np.nanmean(excess)), excess, {"boundaries": places})


STEP_PROBES = ("pair", "change", "likeness")
METRICS = (
    Metric(
        "cut.jump", "lower", "z", STEP_PROBES, jump, backend=DIS, min_frames=4,
        about="The largest step between frames, in robust standard deviations of all steps.",
    ),
    Metric(
        "cut.count", "lower", "cuts", STEP_PROBES, count, backend=DIS, min_frames=4,
        about="Number of frames that step by more than 6 robust standard deviations.",
    ),
    Metric(
        "seam.step", "lower", "step", STEP_PROBES, seam, backend=DIS, min_frames=4,
        about="How much larger steps are where the generator joined chunks than elsewhere.",
        absent="no chunk boundaries are known",
    ),
)  # fmt: skip
