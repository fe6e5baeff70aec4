"""A validation as Markdown, for the documentation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from videogen.evaluation.registry import METRICS
from videogen.evaluation.validation.corruptions import CORRUPTIONS
from videogen.evaluation.validation.report import Validation

BLIND = 0.05
FOOLED = 0.3
SEES = 0.95


def markdown(validation: Validation) -> str:
    """Three tables: each corruption and its metric; the score; every metric on every corruption."""
    parts = [_catchers(validation), _score(validation), _matrix(validation)]
    return "\n\n".join(parts)


def _catchers(validation: Validation) -> str:
    rows = []
    for corruption in CORRUPTIONS:
        cell = validation.cells[corruption.name][corruption.caught_by]
        better = METRICS[corruption.caught_by].direction
        rows.append(
            (
                corruption.name,
                f"{', '.join(f'{a:g}' for a in corruption.amounts)} {corruption.unit}",
                f"`{corruption.caught_by}` {'falls' if better == 'higher' else 'rises'}",
                f"{cell.spearman:.2f}",
                f"{cell.auc:.3f}",
                f"{cell.auc_all:.3f}",
            )
        )
    head = ("corruption", "grades 1 to 4", "caught by", "Spearman", "AUC, grades 3-4", "AUC, all")
    return _table(head, rows)


def _score(validation: Validation) -> str:
    rows = [
        (
            name,
            " ".join(f"{value:.2f}" for value in scores),
            f"{validation.raised[name][0]:.3f}",
            f"{validation.raised[name][1]:+.3f}",
        )
        for name, scores in validation.scores.items()
        if name in validation.raised
    ]
    head = ("treatment", "mean `coherence.score`", "share raised", "largest gain")
    facts = (
        f"Clips: {validation.num_clips}. Clean: {validation.scores['clean'][0]:.3f} on average, "
        f"{validation.lowest_clean:.3f} at least. "
        f"Highest impostor: {validation.highest_impostor:.3f}."
    )
    return f"{facts}\n\n{_table(head, rows)}"


def _matrix(validation: Validation) -> str:
    """AUC at grades 3 and 4: bold where a metric sees the corruption, struck where it is fooled."""
    names = list(next(iter(validation.cells.values())))
    rows = [
        (f"`{name}`", *(_mark(validation.cells[c.name][name].auc) for c in CORRUPTIONS))
        for name in names
        if METRICS[name].direction != "info"
    ]
    return _table(("metric", *(c.name.replace("_", " ") for c in CORRUPTIONS)), rows)


def _mark(value: float) -> str:
    if math.isnan(value):
        return ""
    if value >= SEES:
        return f"**{value:.2f}**"
    if value < FOOLED:
        return f"~~{value:.2f}~~"
    return "·" if abs(value - 0.5) < BLIND else f"{value:.2f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
