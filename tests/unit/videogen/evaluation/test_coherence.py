"""The score: clips that only look coherent rank below every clip that honestly moves."""

import numpy as np
import pytest

from videogen.evaluation import Evaluator
from videogen.evaluation.metrics.coherence import FAULTS, Fault
from videogen.evaluation.validation.corruptions import CORRUPTIONS
from videogen.evaluation.validation.impostors import IMPOSTORS
from videogen.shapes import render
from videogen.shapes.scene import ObjectSpec, Scene

SCORE = Evaluator(["coherence"])
MOVING = {
    "right": ObjectSpec("red", "square", "right", 0.3, 0.5, 0.2, speed=0.03),
    "grow": ObjectSpec("cyan", "circle", "grow", 0.5, 0.5, 0.18, speed=0.06),
    "spin": ObjectSpec("white", "cross", "spin", 0.5, 0.5, 0.2, speed=0.03),
    "bounce": ObjectSpec("yellow", "ring", "bounce", 0.5, 0.5, 0.16, speed=0.1, reach=0.18),
    "shake": ObjectSpec("pink", "heart", "shake", 0.5, 0.5, 0.18, speed=0.25, reach=0.05),
}
CLIPS = {
    motion: render(Scene((spec,), "blue gradient"), 13, 64, 64) for motion, spec in MOVING.items()
}


@pytest.fixture(scope="module")
def clean():
    return {motion: SCORE.evaluate(frames, 12) for motion, frames in CLIPS.items()}


def test_honest_motion_opens_the_gate_and_scores_high(clean):
    scores = {motion: metrics["coherence.score"].value for motion, metrics in clean.items()}
    assert min(scores.values()) > 0.55
    assert min(scores[motion] for motion in ("right", "grow", "spin", "bounce")) > 0.9
    assert all(metrics["coherence.gate"].value > 0.95 for metrics in clean.values())


@pytest.mark.parametrize("impostor", IMPOSTORS)
def test_impostors_rank_below_every_moving_clip(impostor, clean):
    lowest = min(metrics["coherence.score"].value for metrics in clean.values())
    frames = IMPOSTORS[impostor](CLIPS["right"], np.random.default_rng(1))
    assert SCORE.evaluate(frames, 12)["coherence.score"].value < lowest / 2


def test_a_still_clip_is_faultless_but_shut_out():
    metrics = SCORE.evaluate(np.repeat(CLIPS["right"][:1], 13, axis=0), 12)
    assert metrics["coherence.ungated"].value == 1
    assert metrics["coherence.gate"].value == 0
    assert metrics["coherence.score"].details["gate"] == 0


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.name)
def test_no_corruption_raises_the_score(corruption, clean):
    spoiled = corruption.apply(CLIPS["right"], 4, seed=3)
    value = SCORE.evaluate(spoiled, 12)["coherence.score"].value
    assert value < clean["right"]["coherence.score"].value


def test_a_fault_takes_nothing_until_good_and_all_its_weight_from_bad():
    clip = SCORE.start(12)
    clip.add(CLIPS["right"])
    timeline = clip.timeline()

    def left(value):
        return Fault("x", lambda clip: value, 2.0, 6.0, 0.8).left(timeline)

    assert [left(v) for v in (0, 2, 4, 6, 99)] == pytest.approx([1, 1, 0.6, 0.2, 0.2])
    assert left(float("nan")) == 1
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
