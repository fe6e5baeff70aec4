"""`videogen compare RUN_A RUN_B`: paired differences with confidence intervals."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from videogen_pipelines.evaluation.compare import Comparison

_STYLES = {"better": "green", "worse": "red", "different": "yellow", "no difference": "dim"}
_WORDS = {"different": "other", "no difference": "–"}
_ARROWS = {"higher": " ↑", "lower": " ↓", "info": ""}


def compare(
    run_a: Annotated[str, typer.Argument(help="The output of 'videogen evaluate': the baseline.")],
    run_b: Annotated[str, typer.Argument(help="Another one, of the same ids.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Compare two evaluated runs clip by clip: is B better than A, and how sure is that?

    Clips are paired by id. Intervals are of the mean difference B - A, 95 %, by bootstrap.

    Example: videogen compare out/steps-8 out/steps-16
    """
    from rich.console import Console

    from videogen.storage import open_storage
    from videogen_pipelines.evaluation.compare import Evaluation
    from videogen_pipelines.evaluation.compare import compare as compare_evaluations

    sides = [Evaluation.read(open_storage(address)) for address in (run_a, run_b)]
    found = compare_evaluations(*sides)
    if json:
        typer.echo(json_module.dumps(found.to_dict(), indent=2))
    else:
        Console().print(render(found))


def render(found: Comparison) -> RenderableType:
    """The table for the terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    title = f"A {found.uri_a}\nB {found.uri_b}\n{found.pairs:,} pairs"
    if found.only_a or found.only_b:
        title += f"; without a partner {found.only_a:,} in A, {found.only_b:,} in B"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.header_style = "dim"
    table.add_column("metric", no_wrap=True)
    for name in ("A", "B", "B - A"):
        table.add_column(name, justify="right", no_wrap=True, min_width=7)
    table.add_column("95 %", no_wrap=True)
    table.add_column("B is", no_wrap=True, min_width=6)
    for metric in found.metrics:
        table.add_row(
            f"{metric.name}{_ARROWS[metric.direction]}",
            f"{metric.mean_a:.3g}",
            f"{metric.mean_b:.3g}",
            f"{metric.difference:+.2g}",
            f"{metric.low:+.2g} … {metric.high:+.2g}",
            Text(_WORDS.get(metric.verdict, metric.verdict), _STYLES[metric.verdict]),
        )
    notes = [Text(f"warning: {warning}") for warning in found.warnings]
    notes += [Text(f"left out {name}: {why}") for name, why in found.incomparable.items()]
    return Group(table, *notes)
