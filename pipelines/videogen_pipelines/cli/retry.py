"""`videogen retry OUT`: the rows that failed, once more."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Annotated

import typer

from videogen_pipelines.cli.errors import OK, SOME_FAILED
from videogen_pipelines.cli.outcomes import CODES, stoppable

if TYPE_CHECKING:
    from videogen_pipelines.retry import Retried


def retry(
    out: Annotated[str, typer.Argument(help="The output of 'videogen generate'.")],
    only: Annotated[
        str | None,
        typer.Option(
            metavar="ERROR_CLASS",
            help="Only rows that failed of this class, such as out_of_memory (see errors.jsonl).",
        ),
    ] = None,
    log_interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between progress lines outside a terminal.")
    ] = 10.0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Try the rows that failed for good again, with the manifest and settings of the run.

    Rows that were never reached, and failures of other classes, stay as they are.

    Example: videogen retry out --only out_of_memory
    """
    from rich.console import Console

    from videogen.storage import open_storage
    from videogen_pipelines.retry import retry as retry_rows

    _check_class(only)
    progress = Console(stderr=True)
    with stoppable(progress):
        retried = retry_rows(open_storage(out), progress, only, log_interval)
    code = CODES[retried.outcome.state] if retried.outcome else _idle_code(retried)
    if json:
        typer.echo(json_module.dumps({**retried.to_dict(), "exit_code": code}, indent=2))
    else:
        typer.echo(closing(retried, only))
    raise typer.Exit(code)


def closing(retried: Retried, only: str | None) -> str:
    """What a person reads at the end."""
    if retried.outcome is None:
        asked = f" of class '{only}'" if only else ""
        there = ", ".join(f"{count:,} {name}" for name, count in retried.dead.items())
        lines = [f"nothing to try again: no row{asked} failed"]
        if there:
            lines.append(f"rows that failed: {there} (rows that are bad need another manifest)")
        return "\n".join(lines)
    counts = retried.outcome.counts
    lines = [
        f"{retried.chosen:,} rows tried again: {counts.done:,} of {counts.rows:,} rows are clips "
        f"now, {counts.failed:,} failed"
    ]
    if counts.pending:
        lines.append(f"{counts.pending:,} rows were never reached: run 'videogen generate' again")
    return "\n".join(lines)


def _idle_code(retried: Retried) -> int:
    return SOME_FAILED if retried.dead else OK


def _check_class(only: str | None) -> None:
    from videogen_cluster.failures import ErrorClass

    names = [str(name) for name in ErrorClass]
    if only is not None and only not in names:
        raise typer.BadParameter(f"got '{only}', expected one of {', '.join(names)}")
