"""Portions change nothing, memory is bounded, and what cannot be measured says why."""

import numpy as np
import pytest

from videogen.errors import ConfigError, MediaError
from videogen.evaluation import METRICS, Evaluator, select_metrics
from videogen.evaluation.window import Window, lag_frames
from videogen.shapes import render
from videogen.shapes.scene import ObjectSpec, Scene

BALL = ObjectSpec("red", "circle", "right", 0.3, 0.5, 0.2, speed=0.03)
FRAMES = render(Scene((BALL,), "blue gradient"), 13)
EVALUATOR = Evaluator(feature=True)
WHOLE = EVALUATOR.evaluate(FRAMES, 12, "a red circle moving right", boundaries=(4, 8))


@pytest.mark.parametrize("cuts", [(1,), (4, 5, 11), tuple(range(1, 13))])
def test_results_do_not_depend_on_the_portions(cuts):
    parts = np.split(FRAMES, cuts)
    streamed = EVALUATOR.evaluate(parts, 12, "a red circle moving right", boundaries=(4, 8))
    assert streamed.values(detailed=True) == WHOLE.values(detailed=True)
    for name, curve in WHOLE.curves().items():
        np.testing.assert_array_equal(streamed.curves()[name], curve)
    np.testing.assert_array_equal(streamed.feature, WHOLE.feature)


def test_the_caller_may_reuse_its_buffer():
    clip, buffer = EVALUATOR.start(12, boundaries=(4, 8)), np.empty_like(FRAMES[:1])
    for frame in FRAMES:
        buffer[0] = frame
        clip.add(buffer)
    assert clip.finish()["flicker.pixel"].value == WHOLE["flicker.pixel"].value


def test_curves_have_a_number_per_frame_and_point_at_the_worst():
    spoiled = FRAMES.copy()
    spoiled[6] = 255 - spoiled[6]
    metrics = EVALUATOR.evaluate(spoiled, 12)
    assert all(len(curve) == 13 for curve in metrics.curves().values())
    assert metrics["motion.smoothness"].worst_frame == 6
    assert metrics["flicker.unexplained"].worst_frame in (6, 7)
    assert metrics.values(detailed=True)["motion.smoothness.worst_s"] == 0.5
    row = metrics["flicker.pixel"]
    assert row.p95 < row.value < 1


def test_every_default_metric_has_a_number_or_a_reason():
    names = {metric.name for metric in select_metrics(None)}
    assert set(WHOLE.results) | set(WHOLE.skipped) == names
    assert not set(WHOLE.results) & set(WHOLE.skipped)
    weighted = {name for name in names if METRICS[name].weights}
    assert set(WHOLE.skipped) == weighted
    assert "model.safetensors" in WHOLE.skipped["text.clip"]
    assert all(np.isfinite(value) for value in WHOLE.values().values())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("num_frames", [1, 2, 3, 4])
def test_short_clips_skip_what_needs_more_frames(num_frames):
    metrics = EVALUATOR.evaluate(FRAMES[:num_frames], 12)
    assert metrics.skipped["coherence.score"] == "needs 5 frames"
    assert ("flicker.pixel" in metrics.results) == (num_frames >= 2)
    assert ("motion.smoothness" in metrics.results) == (num_frames >= 3)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("height, width", [(17, 40), (200, 64)])
def test_flat_and_odd_sized_clips_do_not_break_anything(height, width):
    metrics = EVALUATOR.evaluate(np.full((6, height, width, 3), 90, np.uint8), 30)
    assert metrics["coherence.score"].value == 0
    assert metrics["motion.freeze"].value == 1


def test_names_choose_metrics_families_and_only_the_probes_they_need():
    assert [m.name for m in select_metrics(["drift.color", "cut"])] == [
        "drift.color",
        "cut.jump",
        "cut.count",
    ]
    assert Evaluator(["drift.*"]).probes == {"light", "pair"}
    assert Evaluator(["vbench.temporal_flickering"]).probes == {"change"}
    with pytest.raises(ConfigError, match=r"drift\.colour.*drift\.color"):
        Evaluator(["drift.colour"])


@pytest.mark.parametrize(
    "frames",
    [np.zeros((2, 8, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8), FRAMES[..., :1]],
)
def test_wrong_frames_are_refused(frames):
    with pytest.raises(MediaError, match="expected uint8"):
        EVALUATOR.evaluate(frames, 12)


def test_a_clip_keeps_its_size_and_its_rate():
    clip = EVALUATOR.start(12)
    with pytest.raises(MediaError, match="no frames"):
        clip.finish()
    clip.add(FRAMES[:2])
    with pytest.raises(MediaError, match="one size in a clip"):
        clip.add(FRAMES[:, :32])
    with pytest.raises(ConfigError, match="fps"):
        EVALUATOR.start(0)
    with pytest.raises(ConfigError, match="size: got 8"):
        Evaluator(size=8)


def test_pairs_are_a_fixed_time_apart():
    assert [lag_frames(fps) for fps in (8, 12, 24, 30, 48, 60, 120)] == [1, 1, 1, 1, 2, 2, 5]


def test_the_window_forgets():
    window = Window(32, lag=2)
    for frame in FRAMES:
        window.push(frame)
        if window.back(4):
            window.flow(window.back(4), window.back(2))
            window.flow(window.back(2), window.now)
    assert window.now.index == 12
    assert window.back(4).index == 8
    assert window.back(5) is None
    assert len(window._flows) <= 4


def test_doubling_the_frame_rate_keeps_what_is_said_of_the_motion():
    slow = ObjectSpec("red", "circle", "right", 0.3, 0.5, 0.2, speed=0.01)
    fast = ObjectSpec("red", "circle", "right", 0.3, 0.5, 0.2, speed=0.02)
    names = ["motion.total", "motion.smoothness", "motion.acceleration"]
    at_48 = Evaluator(names).evaluate(render(Scene((slow,), "blue gradient"), 25), 48)
    at_24 = Evaluator(names).evaluate(render(Scene((fast,), "blue gradient"), 13), 24)
    for name in names:
        assert at_48[name].value == pytest.approx(at_24[name].value, rel=0.1)
