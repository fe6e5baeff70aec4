"""`drift.*`: what slowly becomes something else; the last fifth of a clip against the first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from videogen.evaluation.metric import DIS, Metric, Score
from videogen.evaluation.probes.light import BACKGROUND_COLUMNS, SUBJECT_COLUMNS
from videogen.evaluation.signals import Timeline

END_SHARE = 0.2
SLOPE_POINTS = 200


def ends(curve: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Medians over the first and the last fifth of a curve `[t]` or `[t c]`."""
    count = max(1, round(len(curve) * END_SHARE))
    if not np.isfinite(curve[:count]).any() or not np.isfinite(curve[-count:]).any():
        nothing = np.full(curve.shape[1:], np.nan)
        return nothing, nothing
    return np.nanmedian(curve[:count], axis=0), np.nanmedian(curve[-count:], axis=0)


def slope_per_s(curve: np.ndarray, fps: float) -> float:
    """Theil-Sen slope: the median over pairs of frames, of at most 200 medians along the clip."""
    parts = np.array_split(np.arange(len(curve)), min(len(curve), SLOPE_POINTS))
    points = [(p.mean() / fps, float(np.nanmedian(curve[p]))) for p in parts if _known(curve[p])]
    if len(points) < 2:
        return 0.0
    x, y = np.array(points).T
    first, second = np.triu_indices(len(x), 1)
    return float(np.median((y[second] - y[first]) / (x[second] - x[first])))


def _known(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).any())


def color(clip: Timeline) -> Score:
    """ΔE between the ends, of the subject or of the background, whichever is larger."""
    apart = [_delta_e(clip, columns) for columns in (SUBJECT_COLUMNS, BACKGROUND_COLUMNS)]
    values = [value for value, _ in apart if np.isfinite(value)]
    curves = np.stack([curve for _, curve in apart])
    curve = np.fmax(curves[0], curves[1])
    return Score(max(values, default=float("nan")), curve, _slope(curve, clip))


def _delta_e(clip: Timeline, columns: Sequence[str]) -> tuple[float, np.ndarray]:
    lab = np.stack([clip[name] for name in columns], axis=-1)
    first, last = ends(lab)
    return float(np.linalg.norm(last - first)), np.linalg.norm(lab - first, axis=-1)


def _slope(curve: np.ndarray, clip: Timeline) -> dict[str, float]:
    return {"slope_per_s": round(slope_per_s(curve, clip.fps), 6)}


def _log_ratio(clip: Timeline, column: str, floor: float) -> Score:
    """|log2 of last over first|: 1 is a doubling or a halving."""
    curve = np.log2(np.maximum(clip[column], 0) + floor)
    first, last = ends(curve)
    change = float(last - first)
    details = {"signed": round(change, 6), **_slope(curve, clip)}
    return Score(abs(change), np.abs(curve - first), details)


def contrast(clip: Timeline) -> Score:
    return _log_ratio(clip, "contrast", 2.0)


def saturation(clip: Timeline) -> Score:
    return _log_ratio(clip, "chroma", 5.0)


def sharpness(clip: Timeline) -> Score:
    curve = clip["sharpness"]
    first, last = ends(curve)
    details = {"signed": round(float(last - first), 6), **_slope(curve, clip)}
    return Score(abs(float(last - first)), np.abs(curve - first), details)


def noise(clip: Timeline) -> Score:
    return _log_ratio(clip, "noise", 1.0)


def motion(clip: Timeline) -> Score:
    return _log_ratio(clip, "object", 0.005)


NO_SUBJECT = "nothing stands out from the background at one of the clip's ends"
METRICS = (
    Metric(
        "drift.color", "lower", "ΔE", ("light",), color, min_frames=5,
        about="Colour of subject or background, last fifth of the clip against the first.",
    ),
    Metric(
        "drift.contrast", "lower", "log2", ("light",), contrast, min_frames=5, absent=NO_SUBJECT,
        about="Distance in colour between subject and background, last fifth against first.",
    ),
    Metric(
        "drift.saturation", "lower", "log2", ("light",), saturation, min_frames=5,
        absent=NO_SUBJECT, about="Chroma of the subject, last fifth against first.",
    ),
    Metric(
        "drift.sharpness", "lower", "log2", ("light",), sharpness, version=2, min_frames=5,
        absent="no edge at one of the clip's ends",
        about="Shortness of edges, last fifth against first; blur and added noise both show.",
    ),
    Metric(
        "drift.noise", "lower", "log2", ("light",), noise, min_frames=5,
        about="Noise level, last fifth against first.",
    ),
    Metric(
        "drift.motion", "info", "log2", ("pair",), motion, backend=DIS, min_frames=6,
        about="Speed of what moves, last fifth against first.",
    ),
)  # fmt: skip
