"""`videogen report OUT`: a folder of HTML in which people look at what a run made."""

from __future__ import annotations

import json as json_module
from typing import Annotated

import typer


def report(
    out: Annotated[
        str, typer.Argument(metavar="OUT", help="The output of 'generate', or any videos.")
    ],
    to: Annotated[
        str | None,
        typer.Option("--to", help="Where the report goes; else OUT/report.", show_default=False),
    ] = None,
    compare: Annotated[
        str | None, typer.Option("--compare", help="Another run to show side by side with it.")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option("--metrics", help="Where 'evaluate --out' wrote; else OUT.")
    ] = None,
    pictures: Annotated[
        bool, typer.Option(help="Draw slices through time and flow; decodes every clip.")
    ] = True,
    copy: Annotated[
        bool, typer.Option("--copy", help="Put the clips into the report, to move it anywhere.")
    ] = False,
    limit: Annotated[
        int, typer.Option(min=1, help="Of more clips, show so many evenly spaced ones.")
    ] = 20_000,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Make a page of a run: playing clips, filters, metrics, failures, plots.

    It is a folder of plain files that opens from disk and from any web server or bucket, with
    whatever the run holds: 'videogen evaluate OUT' first adds metrics. Run it again after more
    clips are made.

    Example: videogen report out

    Example: videogen report out/steps-8 --compare out/steps-16 --to page --copy
    """
    from rich.console import Console
    from rich.progress import Progress

    from videogen.storage import open_storage
    from videogen_pipelines.report.build import ReportOptions, Side, build_report

    options = ReportOptions(pictures, copy, limit)
    target = open_storage(to if to else f"{out.rstrip('/')}/report")
    side = Side.read(out, metrics, target, options)
    other = Side.read(compare, None, target, options) if compare else None
    total = sum(len(each.selection.clips) for each in (side, other) if each is not None)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("drawing", total=total)
        page = build_report(target, side, other, options, lambda done: bar.advance(task, done))
    found = {
        "index": page,
        "clips": len(side.selection.clips),
        "of": side.selection.total,
        "scored": side.scores.summary.get("scored", 0),
    }
    if json:
        typer.echo(json_module.dumps(found, indent=2))
        return
    typer.echo(page)
    if not side.scores.metrics:
        typer.echo(f"no metrics yet: 'videogen evaluate {out}' adds them, then make it again")
