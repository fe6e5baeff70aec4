"""`motion.*`: how much moves, how evenly, and whether anything moves at all."""

from __future__ import annotations

import numpy as np

from videogen.evaluation.metric import DIS, Metric, Score, mean
from videogen.evaluation.signals import Timeline

DUPLICATE = 1.5 / 255
"""A frame repeats the one before when no tile of an 8x8 grid changed more on average."""
SKIP_REACH = 3
SKIP_FLOOR = 0.002
DYNAMIC_SPEED = 6 / 256
DYNAMIC_FPS = 8.0


def smoothness(clip: Timeline) -> Score:
    curve = 1 - clip["interpolation"]
    return Score(mean(curve), curve, {"worst_region": round(mean(clip["interpolation_top"]), 6)})


def acceleration(clip: Timeline) -> Score:
    return Score(mean(clip["acceleration"]), clip["acceleration"])


def per_second(clip: Timeline, column: str) -> Score:
    """A length between two frames as percent of the shorter side per second."""
    curve = clip[column] * (100 / clip.lag_s)
    return Score(mean(curve), curve)


def amount(clip: Timeline) -> Score:
    return per_second(clip, "object")


def camera(clip: Timeline) -> Score:
    return per_second(clip, "camera")


def total(clip: Timeline) -> Score:
    return per_second(clip, "speed_top")


def explained(clip: Timeline) -> Score:
    return Score(explained_share(clip), clip["explained"])


def explained_share(clip: Timeline) -> float:
    """Mean of `explained` over pairs that changed, weighted by how much they changed."""
    share, weight = clip["explained"], clip["speed_top"]
    valid = np.isfinite(share) & np.isfinite(weight)
    total_weight = float(weight[valid].sum())
    return float((share[valid] * weight[valid]).sum() / total_weight) if total_weight > 0 else 0.0


def dynamic(clip: Timeline) -> Score:
    """VBench's rule with this flow: top 5 % beyond 6 of 256 px in a quarter of pairs, 8 fps."""
    curve = clip["speed_top"] / clip.lag_s / DYNAMIC_FPS
    pairs = curve[np.isfinite(curve)]
    share = float((pairs > DYNAMIC_SPEED).mean()) if len(pairs) else float("nan")
    return Score(float(share >= 0.25), curve, {"share_of_pairs": round(share, 6)})


def repeats(clip: Timeline) -> np.ndarray:
    """float32 `[t]`: 1 where a frame repeats the one before, NaN at the first frame."""
    change = clip["change_tile"]
    return np.where(np.isfinite(change), change < DUPLICATE, np.nan).astype(np.float32)


def freeze(clip: Timeline) -> Score:
    curve = repeats(clip)
    longest = longest_run(curve == 1)
    return Score(mean(curve), curve, {"longest_s": round(longest / clip.fps, 6)})


def longest_run(flags: np.ndarray) -> int:
    """Length of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max()) if len(edges) else 0


def stutter(clip: Timeline) -> Score:
    """How unevenly frames advance: |second difference of the change| over twice its local mean."""
    change = np.nan_to_num(clip["change"], nan=0.0)
    curve = np.full(len(change), np.nan, np.float32)
    if len(change) >= 4:
        before, now, after = change[1:-2], change[2:-1], change[3:]
        local = before + 2 * now + after
        uneven = np.abs(before - 2 * now + after) / np.maximum(local, 4e-3)
        curve[2:-1] = uneven
    return Score(mean(curve), curve)


def skips(clip: Timeline) -> np.ndarray:
    """float32 `[t]`: log2 of each change between frames over the median of the six around it."""
    change = clip["change"][1:]
    padded = np.pad(change, SKIP_REACH, constant_values=np.nan)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * SKIP_REACH + 1).copy()
    around[:, SKIP_REACH] = np.nan
    usual = np.nanmedian(around, axis=1)
    curve = np.log2((change + SKIP_FLOOR) / (usual + SKIP_FLOOR))
    return np.concatenate([[np.nan], curve]).astype(np.float32)


def skip(clip: Timeline) -> Score:
    curve = skips(clip)
    return Score(float(np.nanmax(curve)), curve)


def camera_shake(clip: Timeline) -> Score:
    """How much the camera's displacement changes from pair to pair, % of the shorter side."""
    path = np.stack([clip["camera_x"], clip["camera_y"]], axis=-1)
    curve = np.full(len(path), np.nan, np.float32)
    curve[clip.lag :] = 100 * np.linalg.norm(path[clip.lag :] - path[: -clip.lag], axis=1)
    return Score(mean(curve), curve)


METRICS = (
    Metric(
        "motion.amount", "info", "%/s", ("pair",), amount, backend=DIS, min_frames=2,
        about="Speed of the fastest 5 % of pixels, camera motion removed, in shorter sides x 100.",
    ),
    Metric(
        "motion.camera", "info", "%/s", ("pair",), camera, backend=DIS, min_frames=2,
        about="Mean speed of the similarity transform that most of the frame follows.",
    ),
    Metric(
        "motion.total", "info", "%/s", ("pair",), total, backend=DIS, min_frames=2,
        about="Speed of the fastest 5 % of pixels, camera included.",
    ),
    Metric(
        "motion.dynamic", "info", "0/1", ("pair",), dynamic, backend=DIS, min_frames=2,
        about="VBench's dynamic-degree rule, with this flow instead of RAFT.",
    ),
    Metric(
        "motion.explained", "higher", "0-1", ("pair",), explained, backend=DIS, min_frames=2,
        about="Share of the change between frames that following the motion takes away.",
    ),
    Metric(
        "motion.smoothness", "higher", "0-1", ("triple",), smoothness, backend=DIS, min_frames=3,
        about="1 - |frame - the frame its neighbours' flow puts there|.",
    ),
    Metric(
        "motion.acceleration", "lower", "ratio", ("triple",), acceleration, backend=DIS,
        min_frames=3, about="How much the flow changes from pair to pair, relative to its length.",
    ),
    Metric(
        "motion.freeze", "lower", "0-1", ("change",), freeze, min_frames=2,
        about="Share of frames that repeat the one before.",
    ),
    Metric(
        "motion.stutter", "lower", "0-1", ("change",), stutter, min_frames=4,
        about="How unevenly the picture advances from frame to frame.",
    ),
    Metric(
        "motion.skip", "lower", "log2", ("change",), skip, min_frames=5,
        about="The largest change between frames against those around it: frames are missing.",
    ),
    Metric(
        "motion.camera_shake", "lower", "%", ("pair",), camera_shake, backend=DIS, min_frames=3,
        about="How much the camera's displacement changes from one pair of frames to the next.",
    ),
)  # fmt: skip
