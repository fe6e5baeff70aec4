"""Sets of clips: diversity of prompts at the points of a sweep, and how many clips go in."""

from __future__ import annotations

import numpy as np
import pytest

from videogen.evaluation.sets import prompt_diversity
from videogen_pipelines.evaluation.score import ClipScore
from videogen_pipelines.evaluation.sets import FeatureTable, describe_sets

NAME = "set.diversity.motion-colour-gradients-1"


def scored(vector: np.ndarray) -> ClipScore:
    said = {"id": "a", "key": "a.mp4", "version": "0", "fingerprint": "0", "measured_on": "file"}
    size = {"num_frames": 5, "fps": 8.0, "height": 8, "width": 8, "size": 128, "lag": 1}
    feature = tuple(map(float, vector))
    return ClipScore(**said, **size, metrics={}, skipped={}, feature=feature)


def test_every_point_of_a_sweep_has_its_diversity_in_one_unit():
    rng = np.random.default_rng(0)
    grid = {"guidance_scale": [1.0, 5.0]}
    table, rows = FeatureTable(12), []
    for scale, spread in ((1.0, 3.0), (5.0, 0.5)):
        for index in range(6):
            vector = np.float32(spread * rng.standard_normal(4))
            rows.append(vector)
            table.add(scored(vector), f"prompt {index % 2}", {"guidance_scale": scale})
    told = describe_sets(table, grid, None)
    values = [entry["metrics"][NAME]["value"] for entry in told["points"]]
    names = [f"prompt {index % 2}" for index in range(6)]
    for value, part in zip(values, (rows[:6], rows[6:]), strict=True):
        measured = prompt_diversity(np.stack(part), names, np.stack(rows))
        assert measured is not None
        assert value == pytest.approx(measured[0].value, rel=1e-4)
    assert values[0] > 2 * values[1]
    assert told["points"][1]["metrics"][NAME]["num_prompts"] == 2


def test_of_many_clips_evenly_spaced_ones_go_in_and_it_is_said():
    table = FeatureTable(10, most=4)
    for index in range(10):
        table.add(scored(np.full(3, index)), "a", None)
    assert table.features[:, 0].tolist() == [0, 3, 6, 9]
    assert describe_sets(table, {}, None)["warnings"] == ["4 of 10 clips went in, evenly spaced"]


def test_clips_without_a_prompt_are_no_samples_of_one():
    table = FeatureTable(2)
    for index in range(2):
        table.add(scored(np.full(3, index)), None, None)
    assert describe_sets(table, {}, None)["all"] == {}
