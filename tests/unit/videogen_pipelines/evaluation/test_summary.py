"""What the summary says of a metric beside its statistics."""

from __future__ import annotations

from typing import Any

from videogen.evaluation import METRICS
from videogen_pipelines.evaluation.score import ClipScore, MetricScore
from videogen_pipelines.evaluation.summary import MetricSummary


def scored(name: str, **details: Any) -> ClipScore:
    about = METRICS[name]
    metric = MetricScore(
        value=0.5, unit="", direction="higher", backend=about.backend, version=1, details=details
    )
    return ClipScore(
        id="a", key="k", version="0", fingerprint="f", measured_on="file", num_frames=5,
        fps=8.0, height=8, width=8, size=32, lag=1, metrics={name: metric}, skipped={},
    )  # fmt: skip


def test_the_weights_that_a_metric_was_measured_with_are_named():
    summary = MetricSummary([METRICS["text.clip"], METRICS["frame.contrast"]])
    summary.add(scored("frame.contrast"))
    for digest in ("b" * 64, "a" * 64, "b" * 64):
        summary.add(scored("text.clip", weights_sha256=digest))
    found = summary.to_dict()["metrics"]
    assert found["text.clip"]["weights_sha256"] == ["a" * 64, "b" * 64]
    assert found["frame.contrast"]["weights_sha256"] == []
