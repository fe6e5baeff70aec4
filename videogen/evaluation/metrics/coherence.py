"""`coherence.*`: one number for a clip, which stillness, blackness and noise cannot win.

The score is a product: a gate that asks for motion which explains the picture's change, times what
every fault leaves of 1. A fault costs nothing up to its `good` value, so removing what an honest
clip has anyway (blurring it, slowing it down) gains nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from videogen.evaluation.metric import DIS, Metric, Score, mean
from videogen.evaluation.metrics import consistency, cuts, drift, flicker, motion
from videogen.evaluation.signals import Timeline

MOVING_SPEED = 2.0
"""Percent of the shorter side per second at which the gate is fully open."""
EXPLAINED_SHARE = (0.2, 0.4)
"""The gate is shut below the first share of change that motion explains, open from the second."""
FREEZE_ALLOWED = 0.1


@dataclass(frozen=True)
class Fault:
    """What a metric takes from the score.

    Attributes:
        measure: from the timeline to the metric's value; NaN takes nothing.
        good, bad: values at which it takes nothing, and all of `weight`.
        weight: share of the score it can take.
    """

    name: str
    measure: Callable[[Timeline], float]
    good: float
    bad: float
    weight: float = 0.9

    def left(self, clip: Timeline) -> float:
        """What the fault leaves of 1."""
        value = self.measure(clip)
        if not np.isfinite(value):
            return 1.0
        share = (value - self.good) / (self.bad - self.good)
        return 1 - self.weight * float(np.clip(share, 0, 1))


FAULTS = (
    Fault("flicker.luma", lambda clip: flicker.luma(clip).value, 0.3, 6.0),
    Fault("flicker.local", lambda clip: flicker.local(clip).value, 0.012, 0.1),
    Fault("flicker.unexplained", lambda clip: flicker.unexplained(clip).value, 0.012, 0.06),
    Fault("motion.smoothness", lambda clip: 1 - motion.smoothness(clip).value, 0.02, 0.08),
    Fault("motion.acceleration", lambda clip: motion.acceleration(clip).value, 1.0, 2.0, 0.3),
    Fault("motion.stutter", lambda clip: motion.stutter(clip).value, 0.3, 0.9),
    Fault("motion.skip", lambda clip: motion.skip(clip).value, 1.2, 4.0, 0.5),
    Fault("motion.camera_shake", lambda clip: motion.camera_shake(clip).value, 0.5, 4.0),
    Fault("cut.jump", lambda clip: cuts.jump(clip).value, 8.0, 40.0),
    Fault("seam.step", lambda clip: cuts.seam(clip).value, 0.3, 1.0),
    Fault("consistency.subject", lambda clip: 1 - consistency.subject(clip).value, 0.3, 0.9),
    Fault("consistency.background", lambda clip: 1 - consistency.background(clip).value, 0.1, 0.6),
    Fault("drift.color", lambda clip: drift.color(clip).value, 8.0, 40.0),
    Fault("drift.sharpness", lambda clip: drift.sharpness(clip).value, 0.9, 3.0),
    Fault("drift.noise", lambda clip: drift.noise(clip).value, 0.5, 3.0),
    Fault("frame.noise", lambda clip: mean(clip["noise"]), 1.5, 15.0),
)


def gate(clip: Timeline) -> Score:
    """0 (nothing moves, or nothing follows the motion) to 1."""
    speed = motion.total(clip).value
    moving = min(1.0, speed / MOVING_SPEED) if np.isfinite(speed) else 0.0
    low, high = EXPLAINED_SHARE
    explained = float(np.clip((motion.explained_share(clip) - low) / (high - low), 0, 1))
    frozen = max(0.0, motion.freeze(clip).value - FREEZE_ALLOWED) / (1 - FREEZE_ALLOWED)
    parts = {"moving": moving, "explained": explained, "not_frozen": 1 - frozen}
    return Score(moving * explained * (1 - frozen), None, _rounded(parts))


def ungated(clip: Timeline) -> Score:
    """The product of what the faults leave."""
    left = {fault.name: fault.left(clip) for fault in FAULTS}
    costly = {name: value for name, value in left.items() if value < 1}
    return Score(float(np.prod(list(left.values()))), None, _rounded(costly))


def score(clip: Timeline) -> Score:
    opened, faultless = gate(clip), ungated(clip)
    details = {"gate": round(opened.value, 6), "ungated": round(faultless.value, 6)}
    return Score(opened.value * faultless.value, None, {**details, **faultless.details})


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in values.items()}


PROBES = ("light", "change", "pair", "triple", "likeness")
METRICS = (
    Metric(
        "coherence.score", "higher", "0-1", PROBES, score, backend=DIS, version=2, min_frames=5,
        about="What the faults leave of 1, times the motion gate.",
    ),
    Metric(
        "coherence.gate", "info", "0-1", PROBES, gate, backend=DIS, min_frames=5,
        about="0 where nothing moves, or no motion explains the change; 1 for a moving clip.",
    ),
    Metric(
        "coherence.ungated", "higher", "0-1", PROBES, ungated, backend=DIS, version=2, min_frames=5,
        about="The score without the gate, for clips that are meant to stand still.",
    ),
)  # fmt: skip
