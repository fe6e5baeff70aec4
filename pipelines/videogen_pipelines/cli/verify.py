"""`videogen verify OUT`: one clip per row or a named failure, proved from storage alone."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Annotated

import typer

from videogen_pipelines.cli.errors import OK, SOME_FAILED

if TYPE_CHECKING:
    from rich.console import RenderableType

    from videogen.storage import Storage
    from videogen_pipelines.verification.clip_check import Level
    from videogen_pipelines.verification.violations import Report

SHOWN = 20


def verify(
    out: Annotated[str, typer.Argument(help="The output of 'videogen generate'.")],
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Adopt finished clips, rebuild the ledger, move damaged files to quarantine/.",
        ),
    ] = False,
    decode: Annotated[bool, typer.Option(help="Decode every frame of every clip.")] = True,
    read: Annotated[
        bool, typer.Option(help="Read every clip and compare its SHA-256; without, its size only.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Prove that every row has exactly one clip, whole and as asked for, or a named failure.

    Reads the output alone and changes nothing, unless --repair is given; then it needs the output
    for itself. Ends with 0 if all is proven and with 1 if not.

    Example: videogen verify out --no-decode
    """
    from rich.console import Console

    from videogen.storage import open_storage
    from videogen_pipelines.verification.clip_check import Level

    level = (Level.FRAMES if decode else Level.BYTES) if read else Level.SIZES
    storage = open_storage(out)
    actions: list[str] = []
    if repair:
        from videogen_pipelines.verification.repair import Repair

        mending = Repair(storage, level)
        report, actions = mending.run(), mending.actions
    else:
        report = _verify(storage, level)
    code = OK if report.proven else SOME_FAILED
    if json:
        found = {**report.to_dict(), "repaired": actions, "exit_code": code}
        typer.echo(json_module.dumps(found, indent=2))
    else:
        for action in actions:
            typer.echo(action)
        Console().print(render(report), soft_wrap=True)
    raise typer.Exit(code)


def render(report: Report) -> RenderableType:
    """The tables for the terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from videogen_pipelines.summary import format_bytes

    table = Table(
        title=f"{report.uri}", title_justify="left", show_header=False, box=None, padding=(0, 2)
    )
    table.add_column(style="dim")
    table.add_column()
    table.add_row("rows", f"{report.rows:,} (from {report.rows_from})")
    table.add_row("clips", f"{report.clips:,}, {format_bytes(report.bytes)}")
    table.add_row("failed", f"{report.failed:,}")
    if report.outside:
        table.add_row("outside", f"{report.outside:,} clips of no row of the latest manifest")
    if report.unlisted:
        table.add_row("unlisted", f"{report.unlisted:,} clips not in the ledger yet")
    table.add_row("looked at", report.level)
    parts: list[RenderableType] = [table, *(Text(f"note: {note}") for note in report.notes)]
    if report.proven:
        return Group(*parts, Text("proven: every row is one clip or a named failure", "green"))
    total = report.counts.total()
    for violation in report.violations[:SHOWN]:
        where = violation.key or violation.id or report.uri
        parts.append(Text.assemble((f"{violation.kind} ", "red"), f"{where}: {violation.message}"))
    if total > SHOWN:
        parts.append(Text(f"… and {total - min(SHOWN, len(report.violations)):,} more (--json)"))
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in report.counts.most_common())
    return Group(*parts, Text(f"not proven: {kinds}", "bold red"))


def _verify(storage: Storage, level: Level) -> Report:
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn

    from videogen_pipelines.verification.verifier import verify_run

    columns = TextColumn("verifying"), MofNCompleteColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("clips")
        return verify_run(storage, level, on_checked=lambda n: progress.update(task, completed=n))
