"""`vbench.temporal_flickering` is the published formula, to 1e-6."""

import itertools

import cv2
import numpy as np
import pytest

from videogen.evaluation import Evaluator
from videogen.evaluation.metrics.vbench import NORMALISATION, normalise
from videogen.shapes import WORLDS, render, sample_scene

EVALUATOR = Evaluator(["vbench.temporal_flickering"])


def published(frames):
    """vbench/temporal_flickering.py: BGR frames, mean absolute differences, their mean."""
    bgr = [cv2.cvtColor(frame, cv2.COLOR_RGB2BGR) for frame in frames]
    differences = [
        np.mean(cv2.absdiff(np.array(a, np.float32), np.array(b, np.float32)))
        for a, b in itertools.pairwise(bgr)
    ]
    return (255.0 - np.mean(differences).item()) / 255.0


@pytest.mark.parametrize("index", range(24))
def test_equals_the_published_formula(index):
    rng = np.random.default_rng(index)
    height, width = int(rng.integers(17, 200)), int(rng.integers(17, 300))
    num_frames, fps = int(rng.integers(2, 12)), float(rng.choice([5, 8, 12, 23.976, 30, 60, 120]))
    frames = render(sample_scene(rng, WORLDS["wide"]), num_frames, height, width)
    grain = rng.normal(0, rng.uniform(0, 30), frames.shape)
    frames = np.clip(frames + grain, 0, 255).astype(np.uint8)
    result = EVALUATOR.evaluate(frames, fps)["vbench.temporal_flickering"]
    assert result.value == pytest.approx(published(frames), abs=1e-6)
    least, largest = NORMALISATION["vbench.temporal_flickering"]
    assert result.details["normalised"] == pytest.approx(
        (result.value - least) / (largest - least), abs=1e-6
    )


def test_the_leaderboards_constants():
    assert normalise("vbench.temporal_flickering", 0.6293) == 0
    assert normalise("vbench.motion_smoothness", 0.9975) == 1
    assert normalise("vbench.subject_consistency", 0.1462) == 0
    assert normalise("vbench.background_consistency", 0.2615) == 0
