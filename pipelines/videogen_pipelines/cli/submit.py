"""`videogen submit`: the same run as `generate`, as a job on a Ray cluster."""

from __future__ import annotations

import json as json_module
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from videogen_pipelines.cli.followed_job import follow_job
from videogen_pipelines.cli.forwarded_options import ForwardedOptions

if TYPE_CHECKING:
    from videogen.storage import Storage
    from videogen_pipelines.submission import Submission

DEFAULT_ADDRESS = "http://127.0.0.1:8265"


class ShipMode(StrEnum):
    """Whether the code goes with the job."""

    ALWAYS = "always"
    NEVER = "never"


def submit(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="MANIFEST --out URI [OPTIONS]",
            help="What 'videogen generate' takes, with the same meaning.",
            show_default=False,
        ),
    ],
    address: Annotated[
        str, typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="The head's dashboard.")
    ] = DEFAULT_ADDRESS,
    follow: Annotated[
        bool, typer.Option("--follow", help="Print what the job prints; exit with its code.")
    ] = False,
    ship: Annotated[
        ShipMode,
        typer.Option(
            help="Send the code of this installation along; 'never' runs what the cluster has, "
            "which has to be the same."
        ),
    ] = ShipMode.ALWAYS,
    env: Annotated[
        list[str] | None,
        typer.Option(help="A variable to pass on, such as AWS_ENDPOINT_URL; never credentials."),
    ] = None,
    python: Annotated[str, typer.Option(help="The interpreter on the cluster.")] = "python",
    shared: Annotated[
        bool, typer.Option("--shared", help="Every node has the same folder at --out.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            help="Check all rows here first and send their pictures and videos along; needs the "
            "manifest and model here."
        ),
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Run 'videogen generate' on a Ray cluster, with the code of this installation.

    Takes all options of 'videogen generate'. Submitting again continues an interrupted run.

    Example: videogen submit prompts.jsonl --out s3://bucket/run --address http://head:8265
    """
    from videogen_cluster.jobs import Jobs
    from videogen_pipelines.control import note_submitted
    from videogen_pipelines.submission import check_reach

    wanted = ForwardedOptions.parse(arguments)
    storage = wanted.storage()
    jobs = Jobs(address)  # first, because what follows writes
    check_reach(storage, jobs.address, shared=shared, model=wanted.params["model"])
    media = wanted.check(shared) if check else set()
    request = _submission(wanted, storage, env or [], ship, python, media)
    request = request.request(jobs)
    jobs.submit(request)
    note_submitted(storage, request.id, jobs.address)
    found = {"job_id": request.id, "out": storage.uri, "address": jobs.address}
    if follow:
        raise typer.Exit(follow_job(jobs, request.id, found, as_json=json))
    if json:
        typer.echo(json_module.dumps(found, indent=2))
        return
    typer.echo(f"submitted {request.id}")
    for command in ("status", "logs", "cancel"):
        typer.echo(f"  videogen {command} {storage.uri}")


def _submission(
    wanted: ForwardedOptions,
    storage: Storage,
    env: list[str],
    ship: ShipMode,
    python: str,
    media: set[Path],
) -> Submission:
    from videogen_pipelines.submission import (
        Submission,
        passed_environment,
        place_file,
        place_manifest,
    )

    environment = passed_environment(env)
    manifest = wanted.params["manifest"]
    if manifest is not None and "://" not in manifest:
        manifest = place_manifest(storage, Path(manifest).expanduser(), media)
    placed = {}
    for name in ("image", "video"):
        said = wanted.params[name]
        if said is not None and Path(said).expanduser().absolute() in media:
            placed[name] = place_file(storage, Path(said).expanduser())
    arguments = wanted.arguments(manifest, storage.uri, placed)
    return Submission(storage, arguments, environment, ship.value, python)
