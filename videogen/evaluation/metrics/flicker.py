"""`flicker.*`: brightness and pixels that change although nothing moves there."""

from __future__ import annotations

from videogen.evaluation.metric import DIS, Metric, Score, mean
from videogen.evaluation.signals import Timeline


def pixel(clip: Timeline) -> Score:
    curve = 1 - clip["mae_native"].astype("float64") / 255
    return Score(mean(curve), curve)


def luma(clip: Timeline) -> Score:
    return Score(mean(clip["luma_second"]), clip["luma_second"])


def residual(clip: Timeline) -> Score:
    return Score(
        mean(clip["residual"]), clip["residual"], {"occluded": round(mean(clip["occluded"]), 6)}
    )


def unexplained(clip: Timeline) -> Score:
    return Score(mean(clip["residual_all"]), clip["residual_all"])


def local(clip: Timeline) -> Score:
    return Score(mean(clip["flicker_tile"]), clip["flicker_tile"])


def occlusion(clip: Timeline) -> Score:
    return Score(mean(clip["occluded"]), clip["occluded"])


METRICS = (
    Metric(
        "flicker.pixel", "higher", "0-1", ("change",), pixel, min_frames=2,
        about="1 - mean |difference| of adjacent frames at native size; honest motion lowers it.",
    ),
    Metric(
        "flicker.luma", "lower", "L*", ("change",), luma, min_frames=3,
        about="Median over an 8x8 grid of the second difference of lightness in time.",
    ),
    Metric(
        "flicker.local", "lower", "0-1", ("pair",), local, backend=DIS, min_frames=2,
        about="Brightness of the most changed tiles that motion does not explain.",
    ),
    Metric(
        "flicker.residual", "lower", "0-1", ("pair",), residual, backend=DIS, min_frames=2,
        about="|difference| left after following the motion, on pixels that stay visible.",
    ),
    Metric(
        "flicker.unexplained", "lower", "0-1", ("pair",), unexplained, backend=DIS, min_frames=2,
        about="The same on all pixels: what no motion explains, occlusions included.",
    ),
    Metric(
        "flicker.occlusion", "lower", "0-1", ("pair",), occlusion, backend=DIS, min_frames=2,
        about="Share of pixels the flow does not find again; high where flow fails.",
    ),
)  # fmt: skip
