"""`videogen doctor`: does everything work here, and what to do where it does not."""

from __future__ import annotations

import json as json_module
from typing import Annotated

import typer

from videogen_pipelines.cli.errors import ENVIRONMENT, OK


def doctor(
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="Try an output: a folder or s3://….")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Try a Ray cluster: auto, host:6379, or a job server, http://host:8265."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Try a model, named as for generate.")] = None,
    config: Annotated[
        str | None, typer.Option("--config", "-c", help="The YAML file of the run that is to work.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Check Python, torch, GPUs, codecs, Ray, storage and the model, and say how to mend them.

    Nothing is left behind: what is written to try an output is removed again. Exit code 3 says
    that something failed; warnings and skipped checks do not count.

    Example: videogen doctor --out s3://bucket/runs/tonight
    """
    from rich.console import Console

    from videogen_cluster.session import surrounding_cluster
    from videogen_pipelines.config import load_run_config, override
    from videogen_pipelines.doctor.diagnosis import diagnose
    from videogen_pipelines.doctor.examination import has_failed
    from videogen_pipelines.doctor.report import render, to_dict
    from videogen_pipelines.doctor.subject import Subject

    settings = load_run_config(config, [] if model is None else [override("model.name", model)])
    cluster = address or settings.cluster.address or surrounding_cluster()
    checks = diagnose(Subject(settings, out, cluster))
    code = ENVIRONMENT if has_failed(checks) else OK
    if json:
        typer.echo(json_module.dumps({**to_dict(checks), "exit_code": code}, indent=2))
    else:
        Console().print(render(checks))
    raise typer.Exit(code)
