"""`videogen sweep`: every row at every point of a grid of settings, as one run, with scores."""

from __future__ import annotations

from typing import Annotated

import typer

from videogen_pipelines.cli.described_job import job_of
from videogen_pipelines.cli.generate import generate
from videogen_pipelines.cli.run import perform
from videogen_pipelines.cli.run_options import RunOptions
from videogen_pipelines.cli.shipped_code import check_code


def sweep(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="MANIFEST --grid FIELD=VALUES --out URI [OPTIONS]",
            help="What 'videogen generate' takes, with the same meaning.",
            show_default=False,
        ),
    ],
    score: Annotated[bool, typer.Option(help="Score each clip while it is made.")] = True,
) -> None:
    """Make every row with every combination of some settings, and say what each of them scores.

    A row keeps its seed at all points, so that differences are those of the settings. Clips are
    called <id>.<field>-<value>…, and their metadata says their point.

    Example: videogen sweep prompts.jsonl --grid guidance_scale=1,3,5 --grid sampler=ddim,euler
    """
    app = typer.Typer(add_completion=False)
    app.command(name="sweep")(generate)
    params = typer.main.get_command(app).make_context("sweep", list(arguments)).params
    said = RunOptions.read({**params, "evaluate": score or params["evaluate"]})
    if not said.grid:
        raise typer.BadParameter("give at least one --grid, such as --grid guidance_scale=1,3,5")
    check_code()
    job = job_of(said)
    perform(job, params["log_interval"], dry_run=params["dry_run"], as_json=params["json"])
