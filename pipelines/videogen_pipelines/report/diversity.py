"""How much clips of one prompt differ from each other at every point of a sweep."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from videogen.errors import MediaError
from videogen.evaluation import Evaluator
from videogen.evaluation.sets import prompt_diversity
from videogen.media import iter_video
from videogen.storage import MissingKeyError, Storage, local_copy
from videogen_pipelines.report.clips import ReportClip
from videogen_pipelines.report.curves import rounded
from videogen_pipelines.report.sweep import point_of, written

DIVERSITY = "set.diversity."
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SweptClip:
    """A clip of a sweep; `feature` is float32 `[d]`, see `videogen.evaluation.sets`."""

    point: Mapping[str, Any]
    prompt: str
    feature: np.ndarray


def measure_swept(storage: Storage, clip: ReportClip) -> SweptClip | None:
    """Decode a clip of a sweep for its feature; None for any other, or one that cannot be read.

    Raises:
        StorageError: the storage failed.
    """
    point = point_of(clip)
    if clip.key is None or not point:
        return None
    evaluation = Evaluator((), feature=True).start(clip.fps or 1.0)
    try:
        with local_copy(storage, clip.key) as path:
            for frames in iter_video(path):
                evaluation.add(frames)
    except (MediaError, MissingKeyError) as error:
        logger.warning("%s: does not count for diversity: %s", clip.id, error)
        return None
    feature = evaluation.finish().feature
    return None if feature is None else SweptClip(point, clip.request["prompt"], feature)


def diversity_by_point(clips: Iterable[SweptClip]) -> list[dict[str, Any]]:
    """For each point: the mean over prompts of the mean distance between clips of one prompt.

    Distances are in units of the spread of all clips, so that points compare. A prompt counts at a
    point where it has two clips or more, such as several seeds.

    Returns:
        JSON types: `point`, `diversity`, and the number of `prompts` that went in.
    """
    found = list(clips)
    if not found:
        return []
    every = np.stack([clip.feature for clip in found])
    groups: dict[str, list[SweptClip]] = {}
    for clip in found:
        groups.setdefault(json.dumps(dict(clip.point), sort_keys=True), []).append(clip)
    told: list[dict[str, Any]] = []
    for name, group in groups.items():
        features = np.stack([clip.feature for clip in group])
        measured = prompt_diversity(features, [clip.prompt for clip in group], every)
        if measured is not None:
            score, prompts = measured
            point, value = json.loads(name), rounded(score.value)
            told.append({"point": point, "diversity": value, "prompts": prompts})
    return told


def recorded_diversity(sets: Mapping[str, Any] | None) -> list[dict[str, Any]] | None:
    """The same as `evaluate` found it, so that a report says no second number; None if it did not.

    Args:
        sets: what `metrics/summary.json` says of the clips as a set.
    """
    told = [
        {
            "point": {name: written(value) for name, value in entry["point"].items()},
            "diversity": said["value"],
            "prompts": said["num_prompts"],
        }
        for entry in (sets or {}).get("points", ())
        for name, said in entry["metrics"].items()
        if name.startswith(DIVERSITY)
    ]
    return told or None
