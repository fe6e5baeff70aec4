"""A job that the command line runs, and how it tells of the end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from videogen_pipelines.cli.outcomes import CODES, stoppable

if TYPE_CHECKING:
    from rich.console import Console

    from videogen_pipelines.generate import Outcome
    from videogen_pipelines.job import Job


def perform(job: Job, log_interval_s: float, *, dry_run: bool, as_json: bool) -> None:
    """Run a job, or only say what it would do; ends with its exit code."""
    from rich.console import Console

    if dry_run:
        from videogen_pipelines.cli.dry_run import say_what_would_be_done

        say_what_would_be_done(job, Console(), as_json=as_json)
    else:
        _run(job, Console(), Console(stderr=True), log_interval_s, as_json=as_json)


def _run(
    job: Job, console: Console, progress: Console, log_interval_s: float, *, as_json: bool
) -> None:
    from videogen_pipelines.generate import generate

    with stoppable(progress):
        outcome = generate(job, progress, log_interval_s)
    code = CODES[outcome.state]
    if as_json:
        typer.echo(json.dumps({**outcome.to_dict(), "exit_code": code}, indent=2))
    else:
        _report(outcome, console)
    raise typer.Exit(code)


def _report(outcome: Outcome, console: Console) -> None:
    from videogen_pipelines.summary import summary_table

    console.print(summary_table(outcome.summary, outcome.uri))
    if outcome.evaluation is not None:
        from videogen_pipelines.evaluation.summary import brief_table

        console.print(brief_table(outcome.evaluation))
    console.print(_closing(outcome), soft_wrap=True, highlight=False)


def _closing(outcome: Outcome) -> str:
    counts = outcome.counts
    lines = [f"{counts.done:,} of {counts.rows:,} rows are clips"]
    if counts.failed:
        lines[0] += f", {counts.failed:,} failed"
    if outcome.state == "interrupted":
        lines.append(f"interrupted with {counts.pending:,} to go; the same command continues")
    elif counts.failed:
        lines.append(f"why: {outcome.uri}/errors.jsonl; the same command tries them again")
    if outcome.contact_sheet:
        lines.append(f"contact sheet: {outcome.uri}/{outcome.contact_sheet}")
    if outcome.shards:
        lines.append(f"{outcome.shards:,} shards: {outcome.uri}/shards")
    return "\n".join(lines)
