"""Paired comparisons: intervals with known answers, and what may be compared at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from videogen.errors import ConfigError, StorageError
from videogen.storage import LocalStorage
from videogen_pipelines.evaluation.columns import schema_of, table_of
from videogen_pipelines.evaluation.compare import Evaluation, compare
from videogen_pipelines.evaluation.comparison import bootstrap_interval, compare_metric

UP = {"direction": "higher", "unit": "0-1"}


def test_the_interval_is_that_of_the_normal_distribution_for_many_values():
    values = np.random.default_rng(0).normal(0.5, 2.0, 2000)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half, abs=0.01)
    assert high == pytest.approx(values.mean() + half, abs=0.01)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    random = np.random.default_rng(1)
    held = 0
    for trial in range(100):
        low, high = bootstrap_interval(random.normal(0.0, 1.0, 40), str(trial))
        held += low <= 0 <= high
    assert 88 <= held <= 100  # 95 expected; the percentile method is a little narrow


def test_the_interval_is_the_same_every_time_and_in_any_order():
    values = np.random.default_rng(2).normal(size=50)
    assert bootstrap_interval(values, "x") == bootstrap_interval(values[::-1], "x")
    assert bootstrap_interval(np.array([3.0])) == (3.0, 3.0)


def test_better_means_in_the_direction_of_the_metric():
    a, b = list(np.linspace(0, 1, 20)), list(np.linspace(0, 1, 20) + 0.5)
    found = compare_metric("m", UP, a, b)
    assert (found.verdict, found.better, found.worse) == ("better", 20, 0)
    assert found.difference == pytest.approx(0.5)
    assert compare_metric("m", {**UP, "direction": "lower"}, a, b).verdict == "worse"
    assert compare_metric("m", {**UP, "direction": "info"}, a, b).verdict == "different"
    mixed = [x + (0.1 if n % 2 else -0.1) for n, x in enumerate(a)]
    assert compare_metric("m", UP, a, mixed).verdict == "no difference"


def evaluation(
    folder: Path, values: dict[str, float | None], size: int = 128, **about: Any
) -> Evaluation:
    metrics = {"m": {**UP, "version": 1, "backend": "numpy", **about}}
    rows = [
        {"id": name, "status": "scored", "measured_on": "file", "m": value}
        for name, value in values.items()
    ]
    rows.append({"id": "broken", "status": "failed"})
    (folder / "metrics").mkdir(parents=True)
    schema = schema_of(["m"])
    pq.write_table(table_of(rows, schema), folder / "metrics/clips.parquet")
    summary = {"size": size, "metrics": metrics}
    (folder / "metrics/summary.json").write_text(json.dumps(summary))
    return Evaluation.read(LocalStorage(folder))


def test_clips_are_paired_by_id_whatever_their_order(tmp_path: Path):
    a = evaluation(tmp_path / "a", {"x": 1.0, "y": 2.0, "z": None, "only-a": 9.0})
    b = evaluation(tmp_path / "b", {"z": 5.0, "y": 2.5, "x": 1.5})
    found = compare(a, b)
    assert (found.pairs, found.only_a, found.only_b) == (3, 1, 0)
    (metric,) = found.metrics
    assert (metric.pairs, metric.mean_a, metric.mean_b) == (2, 1.5, 2.0)
    assert "3 pairs are few" in found.warnings[0]
    assert "few pairs have a number of m (2)" in found.warnings[1]


def test_a_metric_with_few_numbers_is_named_and_one_pair_shows_no_difference(tmp_path: Path):
    values = {f"clip-{n}": float(n) if n == 0 else None for n in range(20)}
    a = evaluation(tmp_path / "a", values)
    b = evaluation(tmp_path / "b", {name: v if v is None else v + 1 for name, v in values.items()})
    found = compare(a, b)
    (metric,) = found.metrics
    assert (found.pairs, metric.pairs, metric.difference) == (20, 1, 1.0)
    assert metric.verdict == "no difference"
    assert "few pairs have a number of m (1): intervals of under 10" in found.warnings[0]


def test_numbers_of_other_weights_are_not_compared_unless_a_side_is_too_old_to_tell(tmp_path: Path):
    first, second = ["a" * 64], ["b" * 64]
    a = evaluation(tmp_path / "a", {"x": 1.0}, weights_sha256=first)
    b = evaluation(tmp_path / "b", {"x": 2.0}, weights_sha256=second)
    none = evaluation(tmp_path / "none", {"x": 2.0}, weights_sha256=[])
    old = evaluation(tmp_path / "old", {"x": 2.0})
    told = "weights_sha256 aaaaaaaaaaaa in A and bbbbbbbbbbbb in B"
    assert compare(a, b).incomparable == {"m": told}
    assert compare(a, none).incomparable == {"m": "weights_sha256 aaaaaaaaaaaa in A and none in B"}
    for one, other in ((a, old), (old, b), (a, a)):
        assert compare(one, other).incomparable == {}


def test_what_was_measured_otherwise_is_not_compared(tmp_path: Path):
    a = evaluation(tmp_path / "a", {"x": 1.0})
    b = evaluation(tmp_path / "b", {"x": 2.0}, version=2)
    found = compare(a, b)
    assert (list(found.metrics), found.incomparable) == ([], {"m": "version 1 in A and 2 in B"})
    with pytest.raises(ConfigError, match="got 128 and 64"):
        compare(a, evaluation(tmp_path / "c", {"x": 1.0}, size=64))
    with pytest.raises(ConfigError, match="got no id that both"):
        compare(a, evaluation(tmp_path / "d", {"y": 1.0}))
    with pytest.raises(StorageError, match="videogen evaluate"):
        Evaluation.read(LocalStorage(tmp_path / "nothing"))
