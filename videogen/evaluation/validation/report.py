"""What the spoiled clips say of each metric: does it follow the grade, does it tell them apart?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from videogen.evaluation.evaluator import Evaluator
from videogen.evaluation.registry import METRICS
from videogen.evaluation.validation.clips import CleanClip
from videogen.evaluation.validation.corruptions import CORRUPTIONS, GRADES, boundaries_of
from videogen.evaluation.validation.impostors import COSMETICS, IMPOSTORS

CLEAN = "clean"
SEVERE_GRADE = 3
SCORE = "coherence.score"
NOISE_OF_SCORE = 0.01
"""A score that rises by less has not risen."""


@dataclass(frozen=True)
class Row:
    """One clip spoiled in one way at one grade (0: as it is), and what the metrics say."""

    clip: str
    corruption: str
    grade: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Cell:
    """One metric on one corruption.

    Attributes:
        spearman: mean over clips of the rank correlation of grade and badness.
        auc: probability that a clip at grade 3 or 4 looks worse than a clean one, any two clips.
        auc_all: the same over all grades.
    """

    spearman: float
    auc: float
    auc_all: float


@dataclass(frozen=True)
class Validation:
    """The outcome.

    Attributes:
        cells: by corruption, then by metric.
        caught_by: the metric that has to catch each corruption.
        raised: by treatment, the share of moving clips whose score rose, and by how much at most.
        scores: by treatment, the mean score at each grade; "clean" has one.
        highest_impostor, lowest_clean: the best score of a clip that is no honest motion, and the
            worst of a clean one.
    """

    num_clips: int
    cells: dict[str, dict[str, Cell]]
    caught_by: dict[str, str]
    raised: dict[str, tuple[float, float]]
    scores: dict[str, list[float]]
    highest_impostor: float
    lowest_clean: float
    missed: list[str] = field(default_factory=list)


def measure(clip: CleanClip, evaluator: Evaluator, seed: int) -> list[Row]:
    """Evaluate a clean clip, every corruption of it at every grade, impostors and cosmetics."""
    bounds = boundaries_of(len(clip.frames))

    def row(corruption: str, grade: int, frames: np.ndarray) -> Row:
        known = bounds if len(frames) == len(clip.frames) else ()
        metrics = evaluator.evaluate(frames, clip.fps, boundaries=known)
        return Row(clip.name, corruption, grade, metrics.values())

    rows = [row(CLEAN, 0, clip.frames)]
    for corruption in CORRUPTIONS:
        for grade in GRADES:
            rows.append(row(corruption.name, grade, corruption.apply(clip.frames, grade, seed)))
    for name, spoil in {**IMPOSTORS, **COSMETICS}.items():
        rows.append(row(name, GRADES[-1], spoil(clip.frames, np.random.default_rng(seed))))
    return rows


def badness(metric: str, value: float) -> float:
    """A value with its sign turned so that more is worse."""
    return -value if METRICS[metric].direction == "higher" else value


def auc(clean: Sequence[float], spoiled: Sequence[float]) -> float:
    """Probability that a spoiled clip's badness exceeds a clean one's; ties count half."""
    a, b = np.asarray(clean)[:, None], np.asarray(spoiled)[None, :]
    return float(((b > a) + 0.5 * (b == a)).mean()) if a.size and b.size else float("nan")


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Rank correlation with mean ranks for ties; 0 where one side does not vary."""
    a, b = _ranks(np.asarray(x)), _ranks(np.asarray(y))
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(((a - a.mean()) * (b - b.mean())).mean() / (a.std() * b.std()))


def _ranks(values: np.ndarray) -> np.ndarray:
    return ((values[:, None] > values).sum(1) + (values[:, None] >= values).sum(1) - 1) / 2.0


def summarise(rows: Iterable[Row]) -> Validation:
    """Judge every metric on every corruption. The order of the rows changes nothing."""
    table: dict[str, dict[str, dict[int, Mapping[str, float]]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for row in sorted(rows, key=lambda row: (row.clip, row.corruption, row.grade)):
        table[row.clip][row.corruption][row.grade] = row.values
    clean = [clip[CLEAN][0] for clip in table.values()]
    cells = {c.name: _cells(c.name, table, clean) for c in CORRUPTIONS}
    caught_by = {c.name: c.caught_by for c in CORRUPTIONS}
    treatments = [*cells, *COSMETICS, *IMPOSTORS]
    scores = [clip[name][GRADES[-1]][SCORE] for clip in table.values() for name in IMPOSTORS]
    return Validation(
        num_clips=len(table),
        cells=cells,
        caught_by=caught_by,
        raised={name: _raised(name, table) for name in treatments},
        scores={name: _mean_scores(name, table) for name in [CLEAN, *treatments]},
        highest_impostor=max(scores),
        lowest_clean=min(values[SCORE] for values in clean),
        missed=[name for name, metric in caught_by.items() if not cells[name][metric].auc >= 0.95],
    )


_Table = Mapping[str, Mapping[str, Mapping[int, Mapping[str, float]]]]


def _cells(corruption: str, table: _Table, clean: Sequence[Mapping[str, float]]) -> dict[str, Cell]:
    names = [name for name in METRICS if all(name in values for values in clean)]
    return {name: _cell(name, corruption, table, clean) for name in names}


def _cell(
    metric: str, corruption: str, table: _Table, clean: Sequence[Mapping[str, float]]
) -> Cell:
    bad: dict[int, list[float]] = defaultdict(list)
    correlations = []
    for clip in table.values():
        grades = {0: clip[CLEAN][0], **clip[corruption]}
        series = {g: badness(metric, v[metric]) for g, v in grades.items() if metric in v}
        for grade, value in series.items():
            bad[grade].append(value)
        correlations.append(spearman(list(series), list(series.values())))
    base = [badness(metric, values[metric]) for values in clean]
    severe = [v for grade in GRADES if grade >= SEVERE_GRADE for v in bad[grade]]
    every = [v for grade in GRADES for v in bad[grade]]
    return Cell(float(np.mean(correlations)), auc(base, severe), auc(base, every))


def _mean_scores(name: str, table: _Table) -> list[float]:
    """Mean score at each grade; clips too short for a score once frames are gone do not count."""
    by_grade: dict[int, list[float]] = defaultdict(list)
    for clip in table.values():
        for grade, values in clip[name].items():
            if SCORE in values:
                by_grade[grade].append(values[SCORE])
    return [float(np.mean(by_grade[grade])) for grade in sorted(by_grade)]


def _raised(name: str, table: _Table) -> tuple[float, float]:
    gains = [
        values[SCORE] - clip[CLEAN][0][SCORE]
        for clip in table.values()
        for values in clip[name].values()
        if SCORE in values
    ]
    return float(np.mean(np.array(gains) > NOISE_OF_SCORE)), float(max(gains))
