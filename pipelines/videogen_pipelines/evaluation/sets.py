"""`metrics/sets.json`: clips as a set, against a reference and against each other."""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from videogen.evaluation.sets import FEATURE, SetScore, frechet_distance, prompt_diversity
from videogen_pipelines.evaluation.score import ClipScore
from videogen_pipelines.evaluation.store import METRICS_PREFIX
from videogen_pipelines.evaluation.sweep import Grid, points_of

SETS_KEY = f"{METRICS_PREFIX}sets.json"
MAX_CLIPS = 50_000
"""Of more, evenly spaced ones go in, so that memory stays bounded."""


class FeatureTable:
    """The features of clips, 4 bytes a number, each with its prompt and its point of a sweep."""

    def __init__(self, num_clips: int, most: int = MAX_CLIPS) -> None:
        self.num_clips = num_clips
        self._every = -(-num_clips // most) if num_clips else 1
        self._seen = 0
        self._numbers = array("f")
        self.prompts: list[str | None] = []
        self.points: list[str | None] = []

    def add(self, score: ClipScore, prompt: str | None, point: Mapping[str, Any] | None) -> None:
        """Take note of a clip."""
        self._seen += 1
        if score.feature is None or (self._seen - 1) % self._every:
            return
        self._numbers.extend(score.feature)
        self.prompts.append(prompt)
        self.points.append(None if point is None else name_of(point))

    @property
    def features(self) -> np.ndarray:
        """float32 `[n d]`."""
        count = len(self.prompts)
        width = len(self._numbers) // count if count else 0
        return np.frombuffer(self._numbers, np.float32).reshape(count, width)

    @property
    def warnings(self) -> list[str]:
        """What has to be said about the choice of clips."""
        if self._every == 1:
            return []
        return [f"{len(self.prompts):,} of {self._seen:,} clips went in, evenly spaced"]


def name_of(point: Mapping[str, Any]) -> str:
    """A point of a grid as a key."""
    return json.dumps(dict(point), sort_keys=True)


def describe_sets(
    table: FeatureTable, grid: Grid, reference: FeatureTable | None
) -> dict[str, Any]:
    """What can be said of clips as a set, over all and at each point of a sweep.

    Distances are in units of the spread of the reference, or else of all the clips.

    Returns:
        JSON types: `feature`, `all` (name -> value, counts and warnings) and, of a sweep, `points`.
    """
    features = table.features
    known = None if reference is None else reference.features
    prompts = [prompt or f"{index}" for index, prompt in enumerate(table.prompts)]
    every = np.arange(len(features))
    notes = table.warnings + ([] if reference is None else reference.warnings)

    def at(places: np.ndarray) -> dict[str, Any]:
        return _numbers(features[places], [prompts[i] for i in places], features, known)

    points = [
        {"point": point, "metrics": at(_places(table.points, point))}
        for point in (points_of(grid) if grid else [])
    ]
    told = {"feature": FEATURE, "all": at(every), "warnings": notes}
    return {**told, "points": points} if points else told


def _numbers(
    features: np.ndarray, prompts: Sequence[str], every: np.ndarray, reference: np.ndarray | None
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if reference is not None and min(len(features), len(reference)) > 1:
        score = frechet_distance(features, reference)
        found[score.name] = _told(score)
    unit = every if reference is None or len(reference) < 2 else reference
    differing = prompt_diversity(features, prompts, unit)
    if differing is not None:
        score, num_prompts = differing
        found[score.name] = {**_told(score), "num_prompts": num_prompts}
    return found


def _places(points: Sequence[str | None], point: Mapping[str, Any]) -> np.ndarray:
    name = name_of(point)
    return np.array([i for i, each in enumerate(points) if each == name], np.int64)


def _told(score: SetScore) -> dict[str, Any]:
    return {
        "value": float(f"{score.value:.6g}"),
        "num_clips": score.num_clips,
        "warnings": list(score.warnings),
    }
