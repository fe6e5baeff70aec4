"""Single metrics against clips whose answer is known."""

import cv2
import numpy as np
import pytest

from videogen.evaluation import Evaluator
from videogen.evaluation.metrics.drift import slope_per_s
from videogen.evaluation.metrics.motion import longest_run
from videogen.evaluation.probes.light import blockiness, noise, sharpness
from videogen.shapes import render
from videogen.shapes.scene import ObjectSpec, Scene

BALL = ObjectSpec("red", "circle", "right", 0.3, 0.5, 0.2, speed=0.03)
FRAMES = render(Scene((BALL,), "navy"), 15)
RNG = np.random.default_rng(0)


def evaluate(frames, *names, **known):
    return Evaluator(names).evaluate(frames, 12, **known)


def ramped(frames, amount):
    ramp = np.linspace(0, amount, len(frames))[:, None, None, None]
    return np.clip(frames + ramp + 0.5, 0, 255).astype(np.uint8)


def test_speed_is_in_shorter_sides_a_second():
    texture = cv2.GaussianBlur(RNG.random((64, 128, 3)), (0, 0), 2)
    texture = (255 * (texture - texture.min()) / np.ptp(texture)).astype(np.uint8)
    pan = np.stack([texture[:, 2 * t : 2 * t + 64] for t in range(10)])
    metrics = evaluate(pan, "motion.total", "motion.camera", "motion.amount")
    expected = 100 * 2 / 64 * 12
    assert metrics["motion.camera"].value == pytest.approx(expected, rel=0.05)
    assert metrics["motion.total"].value == pytest.approx(expected, rel=0.3)
    assert metrics["motion.amount"].value < 0.3 * expected


def test_freeze_counts_repeats_and_names_the_longest_stand():
    held = FRAMES[[0, 1, 1, 2, 3, 4, 4, 4, 4, 5, 6]]
    metrics = evaluate(held, "motion.freeze")
    assert metrics["motion.freeze"].value == pytest.approx(4 / 10)
    assert metrics["motion.freeze"].details["longest_s"] == pytest.approx(3 / 12)
    assert longest_run(np.array([0, 1, 1, 0, 1, 1, 1], bool)) == 3
    assert longest_run(np.zeros(3, bool)) == 0


def test_skipped_frames_and_their_place_are_found():
    skipping = np.delete(FRAMES, [7, 8, 9], axis=0)
    clean, spoiled = evaluate(FRAMES, "motion.skip"), evaluate(skipping, "motion.skip")
    assert clean["motion.skip"].value < 0.3
    assert spoiled["motion.skip"].value == pytest.approx(2, abs=0.4)
    assert spoiled["motion.skip"].worst_frame == 7


def test_a_cut_is_found_at_its_frame():
    other = render(Scene((BALL,), "sunset gradient"), 15)
    metrics = evaluate(np.concatenate([FRAMES[:6], other[6:]]), "cut")
    assert metrics["cut.jump"].details["cuts"] == [6]
    assert metrics["cut.jump"].details["cuts_s"] == [0.5]
    assert metrics["cut.count"].value == 1
    assert evaluate(FRAMES, "cut")["cut.count"].value == 0


def test_a_seam_is_measured_where_chunks_were_joined():
    brighter = FRAMES.copy()
    brighter[5:10] = np.clip(FRAMES[5:10].astype(int) + 12, 0, 255)
    at, away = (
        evaluate(brighter, "seam.step", boundaries=b)["seam.step"].value for b in ((5, 10), (3, 8))
    )
    assert at > 0.3 > abs(away)
    assert evaluate(FRAMES, "seam.step").skipped == {"seam.step": "no chunk boundaries are known"}


@pytest.mark.parametrize("amount", [20, -20])
def test_drift_of_colour_is_the_distance_between_the_ends(amount):
    grey = np.full((15, 32, 32, 3), 120, np.uint8)
    result = evaluate(ramped(grey, amount), "drift.color")["drift.color"]
    greys = [[[120 + amount * share] * 3 for share in (1 / 14, 13 / 14)]]
    levels = np.array(greys, np.float32) / 255
    first, last = cv2.cvtColor(levels, cv2.COLOR_RGB2LAB)[0, :, 0]
    assert result.value == pytest.approx(abs(last - first), rel=0.1)
    assert result.details["slope_per_s"] == pytest.approx(abs(last - first) / (12 / 12), rel=0.15)


def test_drift_of_sharpness_has_a_sign_and_ignores_growth():
    blurred = [cv2.GaussianBlur(f, (0, 0), 0.05 + 0.12 * t) for t, f in enumerate(FRAMES)]
    blur = evaluate(np.stack(blurred), "drift.sharpness")["drift.sharpness"]
    grown = render(
        Scene((ObjectSpec("red", "circle", "grow", 0.5, 0.5, 0.2, speed=0.06),), "navy"), 15
    )
    growth = evaluate(grown, "drift")
    assert blur.details["signed"] < -0.5
    assert growth["drift.sharpness"].value < 0.2
    assert growth["drift.color"].value < 3


@pytest.mark.parametrize("level", [0, 128, 255])
def test_blank_frames_have_no_sharpness_and_those_of_a_cut_to_black_do_not_count(level):
    blank = np.full_like(FRAMES, level)
    blank[:, 20:40, 10:] ^= 1  # a step of one level, as rounding leaves it
    metrics = evaluate(blank, "frame.sharpness", "drift.sharpness")
    assert metrics.skipped == {
        "frame.sharpness": "no frame has an edge",
        "drift.sharpness": "no edge at one of the clip's ends",
    }
    cut = evaluate(np.concatenate([FRAMES, blank]), "frame.sharpness")["frame.sharpness"]
    assert cut.value == pytest.approx(evaluate(FRAMES, "frame.sharpness")["frame.sharpness"].value)


def test_slopes_survive_outliers():
    curve = 3.0 * np.arange(60) / 12
    curve[[5, 30, 31]] += 100
    assert slope_per_s(curve, 12) == pytest.approx(3, rel=0.02)
    assert slope_per_s(np.full(5, np.nan), 12) == 0


def test_an_identity_that_changes_is_not_consistent():
    spec = ObjectSpec("green", "star", "right", 0.3, 0.5, 0.2, speed=0.03)
    other = render(Scene((spec,), "navy"), 15)
    swapped = np.concatenate([FRAMES[:7], other[7:]])
    same, changed = evaluate(FRAMES, "consistency"), evaluate(swapped, "consistency")
    assert same["consistency.subject"].value > 0.85
    assert changed["consistency.subject"].value < 0.75
    assert changed["consistency.subject"].worst_frame == 7
    assert changed["consistency.background"].value > 0.95
    points = changed["consistency.curve"].details["similarity"]
    assert list(points) == ["0.25", "0.5", "1"]
    assert points["0.25"] > points["1"]


def test_noise_is_measured_in_grey_levels_and_blocks_at_their_borders():
    grey = np.clip(RNG.normal(128, 10, (200, 300)), 0, 255).astype(np.uint8)
    assert noise(grey) == pytest.approx(10, rel=0.08)
    blocks = np.kron(RNG.integers(0, 255, (20, 30)), np.ones((8, 8))).astype(np.uint8)
    assert noise(blocks) == 0
    assert blockiness(blocks) > 50
    assert blockiness(grey) < 0.5
    assert sharpness(blocks) > sharpness(cv2.GaussianBlur(blocks, (0, 0), 2)) + 1


def test_flicker_is_seen_whole_and_in_a_corner():
    gain = 1 + 0.1 * (np.arange(15) % 2)
    whole = np.clip(FRAMES * gain[:, None, None, None] + 0.5, 0, 255).astype(np.uint8)
    corner = FRAMES.copy()
    corner[::2, :24, :24] = np.clip(corner[::2, :24, :24].astype(int) + 20, 0, 255)
    clean, all_over, local = (evaluate(f, "flicker") for f in (FRAMES, whole, corner))
    assert clean["flicker.luma"].value < 0.01
    assert all_over["flicker.luma"].value > 0.5
    assert local["flicker.luma"].value < 0.5
    assert local["flicker.local"].value > 5 * clean["flicker.local"].value


def test_adherence_says_what_the_judge_missed():
    prompt = "a red circle moving left on a navy background"
    metrics = evaluate(FRAMES, "text.adherence", "text.adherence_all", prompt=prompt)
    assert metrics["text.adherence"].value == pytest.approx(3 / 4)
    assert metrics["text.adherence"].details["motion"] is False
    assert metrics["text.adherence"].details["read"]["motion"] == "right"
    assert metrics["text.adherence_all"].value == 0
    large = render(Scene((BALL,), "navy"), 15, 160, 192)
    right = evaluate(large, "text.adherence", prompt=prompt.replace("left", "right"))
    assert right["text.adherence"].value == 1
    for other in ("a stormy sea", "a heart shaped cake upon grandmother's table"):
        assert not evaluate(FRAMES, "text.adherence", prompt=other).results
