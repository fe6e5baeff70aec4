"""The program `compare`: reads two evaluations and pairs their clips by id."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from videogen.errors import ConfigError, StorageError
from videogen.storage import MissingKeyError, Storage, local_copy
from videogen_pipelines.evaluation.columns import SCORED
from videogen_pipelines.evaluation.comparison import FEW_PAIRS, MetricComparison, compare_metric
from videogen_pipelines.evaluation.evaluate import CLIPS_KEY, SUMMARY_KEY

_SAME = ("version", "backend", "weights_sha256")
_SHOWN_DIGITS = 12


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` left: its summary, and a row per clip."""

    uri: str
    summary: Mapping[str, Any]
    clips: pa.Table

    @classmethod
    def read(cls, storage: Storage) -> Evaluation:
        """Read it.

        Raises:
            StorageError: there is none, or it cannot be read.
        """
        try:
            summary = json.loads(storage.read(SUMMARY_KEY))
            with local_copy(storage, CLIPS_KEY) as path:
                clips = pq.read_table(path)
        except MissingKeyError as error:
            raise StorageError(
                f"{storage.uri}: got no {SUMMARY_KEY}, expected the output of an evaluation. Fix: "
                f"run 'videogen evaluate {storage.uri}' first."
            ) from error
        scored = pc.equal(clips["status"], SCORED)  # type: ignore[attr-defined]
        return cls(storage.uri, summary, clips.filter(scored))

    @property
    def ids(self) -> set[str]:
        """The clips that have a score."""
        return {str(name) for name in self.clips["id"].to_pylist()}


@dataclass(frozen=True)
class Comparison:
    """Metrics that both sides measured alike; `incomparable` says why others are left out."""

    uri_a: str
    uri_b: str
    pairs: int
    only_a: int
    only_b: int
    metrics: Sequence[MetricComparison]
    incomparable: Mapping[str, str]
    warnings: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {
            "a": self.uri_a,
            "b": self.uri_b,
            "pairs": self.pairs,
            "only_a": self.only_a,
            "only_b": self.only_b,
            "metrics": {found.name: found.to_dict() for found in self.metrics},
            "incomparable": dict(self.incomparable),
            "warnings": list(self.warnings),
        }


def compare(one: Evaluation, other: Evaluation) -> Comparison:
    """Compare B with A, clip by clip.

    Raises:
        ConfigError: they share no clip, or were measured at different sizes.
    """
    if one.summary["size"] != other.summary["size"]:
        raise ConfigError(
            f"evaluate.size: got {one.summary['size']} and {other.summary['size']}, expected the "
            "same, because scores of different sizes do not compare. Fix: evaluate one of them "
            "again with --set evaluate.size."
        )
    ids = sorted(one.ids & other.ids)
    if not ids:
        raise ConfigError(
            f"{one.uri} and {other.uri}: got no id that both have scored, expected runs of one "
            "manifest. Fix: give its rows ids, so that clips can be paired."
        )
    a, b = _rows(one.clips, ids), _rows(other.clips, ids)
    incomparable = dict(_differences(one.summary["metrics"], other.summary["metrics"]))
    metrics = []
    for name, about in one.summary["metrics"].items():
        if name in other.summary["metrics"] and name not in incomparable:
            found = _both(a[name].to_pylist(), b[name].to_pylist())
            if found:
                metrics.append(compare_metric(name, about, *zip(*found, strict=True)))
    return Comparison(
        uri_a=one.uri,
        uri_b=other.uri,
        pairs=len(ids),
        only_a=len(one.clips) - len(ids),
        only_b=len(other.clips) - len(ids),
        metrics=metrics,
        incomparable=incomparable,
        warnings=[*_few_pairs(metrics, len(ids)), *_warnings(a, b)],
    )


def _rows(clips: pa.Table, ids: list[str]) -> pa.Table:
    places = pc.index_in(pa.array(ids), value_set=clips["id"].combine_chunks())
    return clips.take(places)


def _both(one: list[float | None], other: list[float | None]) -> list[tuple[float, float]]:
    pairs = zip(one, other, strict=True)
    return [(a, b) for a, b in pairs if a is not None and b is not None]


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, about in one.items():
        if name not in other:
            yield name, "measured in A alone"
            continue
        for what in _SAME:
            a, b = about.get(what), other[name].get(what)
            if a != b and None not in (a, b):  # what is older does not know all of them
                yield name, f"{what} {_shown(a)} in A and {_shown(b)} in B"
                break
    yield from ((name, "measured in B alone") for name in other if name not in one)


def _shown(fact: Any) -> str:
    """A version or a name as it is, and of each digest of weights its start."""
    if not isinstance(fact, list):
        return str(fact)
    return ", ".join(digest[:_SHOWN_DIGITS] for digest in fact) or "none"


def _few_pairs(metrics: Sequence[MetricComparison], count: int) -> Iterator[str]:
    """Of few pairs intervals say little: of all metrics, or of those with fewer than the rest."""
    too_narrow = f"intervals of under {FEW_PAIRS} pairs are too narrow"
    if count < FEW_PAIRS:
        yield f"{count} pairs are few: {too_narrow}"
    few = [f"{m.name} ({m.pairs})" for m in metrics if m.pairs < min(count, FEW_PAIRS)]
    if few:
        yield f"few pairs have a number of {', '.join(few)}: {too_narrow}"


def _warnings(a: pa.Table, b: pa.Table) -> Iterator[str]:
    ways = [a["measured_on"].to_pylist(), b["measured_on"].to_pylist()]
    if ways[0] != ways[1]:
        yield "some clips were measured on frames before they were encoded, others on their files"
    prompts = zip(a["prompt"].to_pylist(), b["prompt"].to_pylist(), strict=True)
    differing = sum(x is not None and y is not None and x != y for x, y in prompts)
    if differing:
        yield f"{differing} pairs have different prompts"
