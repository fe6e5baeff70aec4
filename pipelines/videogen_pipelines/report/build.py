"""The program `report`: reads a run and its scores, and writes the folder that people open."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from videogen.errors import ConfigError
from videogen.storage import Storage, open_storage
from videogen_pipelines.evaluation.compare import Evaluation, compare
from videogen_pipelines.redact import redact
from videogen_pipelines.report.bundle import Bundle
from videogen_pipelines.report.clips import ReportClip, Selection, select_clips
from videogen_pipelines.report.columns import table_of, values_of
from videogen_pipelines.report.curves import Profiles, read_curves
from videogen_pipelines.report.details import details_of, rejected_tries
from videogen_pipelines.report.diversity import (
    SweptClip,
    diversity_by_point,
    measure_swept,
    recorded_diversity,
)
from videogen_pipelines.report.links import check_base
from videogen_pipelines.report.overview import overview
from videogen_pipelines.report.picture_store import Drawn, PictureStore, copy_clip, key_of_copy
from videogen_pipelines.report.scores import ClipScores, Scores
from videogen_pipelines.report.sweep import axes_of, point_of

BLOCK = 16
"""Clips whose details share a file."""
MAX_CLIPS = 20_000
REPORT = "report"

OnClip = Callable[[int], None]
"""Told the number of clips that were just done."""


@dataclass(frozen=True)
class ReportOptions:
    """What a report holds.

    With `pictures`, slices through time and flow are drawn, for which every clip is decoded; with
    `copy`, the clips are put into the report, so that the folder can be moved anywhere.
    """

    pictures: bool = True
    copy: bool = False
    limit: int = MAX_CLIPS


@dataclass(frozen=True)
class Side:
    """A run or folder of videos, with its scores."""

    storage: Storage
    scores: Scores
    selection: Selection
    base: str
    """What links to its clips start with."""

    @cached_property
    def diversity(self) -> list[dict[str, Any]] | None:
        """How much clips of one prompt differ by point of a sweep, if their scores say it."""
        return recorded_diversity(self.scores.summary.get("sets"))

    @classmethod
    def read(
        cls, address: str, metrics: str | None, report: Storage, options: ReportOptions
    ) -> Side:
        """Find the clips and their scores.

        Args:
            metrics: where `videogen evaluate --out` wrote; None is beside the clips.

        Raises:
            ConfigError: no link leads from the report to the clips, and they are not to be copied.
            StorageError: there are no clips, or they cannot be read.
        """
        storage = open_storage(address)
        base = "" if options.copy else check_base(report.uri, storage.uri)
        scores = Scores.read(open_storage(metrics) if metrics else storage)
        return cls(storage, scores, select_clips(storage, options.limit), base)


@dataclass(frozen=True)
class _Told:
    """What the report will say of one clip."""

    row: dict[str, Any]
    details: dict[str, Any]
    curves: dict[str, Any]
    swept: SweptClip | None


def build_report(
    report: Storage,
    side: Side,
    other: Side | None = None,
    options: ReportOptions | None = None,
    on_clip: OnClip = lambda done: None,
) -> str:
    """Write the report of `side`, or of two sides next to each other.

    Returns:
        Where the index page is.

    Raises:
        StorageError: a storage failed.
    """
    options = options or ReportOptions()
    bundle = Bundle(report)
    _write_side(bundle, "a", side, options, on_clip)
    if other is not None:
        _write_side(bundle, "b", other, options, on_clip)
    bundle.write_data("report", {"sides": ["a", "b"] if other else ["a"]})
    bundle.write_data("comparison", _comparison(side, other))
    return bundle.finish()


def _write_side(
    bundle: Bundle, name: str, side: Side, options: ReportOptions, on_clip: OnClip
) -> None:
    profiles = Profiles()
    rows: list[dict[str, Any]] = []
    swept: list[SweptClip] = []
    for number, block in enumerate(_blocks(_told(bundle.storage, side, options))):
        for told in block:
            profiles.add(told.curves)
            rows.append(told.row)
            swept += [told.swept] if told.swept else []
        bundle.write_data(f"{name}/details-{number:05d}", [told.details for told in block])
        on_clip(len(block))
    axes = axes_of(point_of(clip) for clip in side.selection.clips)
    bundle.write_data(f"{name}/rows", table_of(rows, side.scores.metrics, axes))
    bundle.write_data(
        f"{name}/run",
        {
            **overview(side.storage, side.selection, side.scores),
            "base": side.base,
            "block": BLOCK,
            "slices": options.pictures,
            "axes": axes,
            "profiles": profiles.to_dict(),
            "diversity": side.diversity or diversity_by_point(swept),
        },
    )


def _told(report: Storage, side: Side, options: ReportOptions) -> Iterator[_Told]:
    """Everything about each clip, several looked at side by side."""
    pictures = PictureStore(side.storage, report, options.pictures)

    def look(clip: ReportClip) -> _Told:
        scores = side.scores.of(clip.id, clip.version)
        curves = _curves(side, scores)
        drawn = pictures.draw(clip)
        row = values_of(clip, scores, _measured(drawn))
        if options.copy and clip.key is not None:
            copy_clip(clip, side.storage, report)
            row["key"] = key_of_copy(clip)
        details = details_of(clip, scores, curves, side.scores.metrics)
        rejected = rejected_tries(side.storage, clip)
        if rejected is not None:
            details["made"]["tries"] = rejected.model_dump(mode="json")
        swept = None if side.diversity else measure_swept(side.storage, clip)
        return _Told(row, details, curves, swept)

    with ThreadPoolExecutor(os.cpu_count()) as workers:
        clips = iter(side.selection.clips)
        while batch := list(islice(clips, 8 * BLOCK)):  # bounds what is held at once
            yield from workers.map(look, batch)


def _measured(drawn: Drawn) -> dict[str, Any]:
    """What a file says of itself, and where its pictures are."""
    found: dict[str, Any] = asdict(drawn)
    found["pictures"] = found.pop("stem")
    if drawn.num_frames and drawn.fps:
        found["duration_s"] = round(drawn.num_frames / drawn.fps, 3)
    return {name: value for name, value in found.items() if value is not None}


def _curves(side: Side, scores: ClipScores | None) -> dict[str, Any]:
    key = scores.curves if scores else None
    return read_curves(side.scores.storage, key) if key else {}


def _comparison(side: Side, other: Side | None) -> dict[str, Any] | None:
    """Paired differences, or why there are none; None where a side has no scores."""
    if other is None or not (side.scores.rows and other.scores.rows):
        return None
    one, two = (Evaluation.read(each.scores.storage) for each in (side, other))
    try:
        return compare(one, two).to_dict()
    except ConfigError as error:  # everything is drawn by now, and the page has more to show
        return {"impossible": redact(str(error))}


def _blocks(told: Iterator[_Told]) -> Iterator[list[_Told]]:
    while block := list(islice(told, BLOCK)):
        yield block
