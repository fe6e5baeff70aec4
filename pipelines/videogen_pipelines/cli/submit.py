"""`videogen submit`: the same run as `generate`, as a job on a Ray cluster."""

from __future__ import annotations

import json as json_module
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from videogen_pipelines.cli.errors import ENVIRONMENT, INTERRUPTED, OK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from videogen.storage import Storage
    from videogen_cluster.jobs import Jobs, JobView
    from videogen_pipelines.submission import Submission

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
_HANDLED = frozenset(
    ["manifest", "out", "config", "overrides", "model", "image", "video", "json", "dry_run"]
)  # said in another way to a job


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

    wanted = parse(arguments)
    storage = wanted.storage()
    jobs = Jobs(address)  # first, because what follows writes
    check_reach(storage, jobs.address, shared=shared, model=wanted.params["model"])
    media = wanted.check() if check else set()
    request = _submission(wanted, storage, env or [], ship, python, set() if shared else media)
    request = request.request(jobs)
    jobs.submit(request)
    note_submitted(storage, request.id, jobs.address)
    found = {"job_id": request.id, "out": storage.uri, "address": jobs.address}
    if follow:
        raise typer.Exit(_follow(jobs, request.id, found, as_json=json))
    if json:
        typer.echo(json_module.dumps(found, indent=2))
        return
    typer.echo(f"submitted {request.id}")
    for command in ("status", "logs", "cancel"):
        typer.echo(f"  videogen {command} {storage.uri}")


@dataclass(frozen=True)
class Wanted:
    """The options of `generate` as they were given; `said` names those on the command line."""

    params: dict[str, Any]
    said: dict[str, str]

    def storage(self) -> Storage:
        from videogen.storage import open_storage

        return open_storage(self.params["out"])

    def check(self) -> set[Path]:
        """Check configuration and rows as `generate` would; returns the local files they name."""
        from videogen_pipelines.cli.generate import job_of
        from videogen_pipelines.submission import local_media

        ignored = ("dry_run", "log_interval", "json")
        job = job_of(**{name: value for name, value in self.params.items() if name not in ignored})
        return local_media(job.inputs.requests(job.report))

    def arguments(
        self, manifest: str | None, out: str, media: Mapping[str, str] | None = None
    ) -> list[str]:
        """The same options for a machine that has none of this one's files.

        Args:
            media: where the files of --image and --video are for that machine, by option.

        Raises:
            ConfigError: the configuration file cannot be read.
        """
        from videogen.foreign.address import absolute_if_here, is_foreign
        from videogen_pipelines.config import override

        said = [] if manifest is None else [manifest]
        said += ["--out", out]
        for name, option in self.said.items():
            if name not in _HANDLED:
                said += _spelled(option, self.params[name])
        for name in ("image", "video"):
            if address := (media or {}).get(name, self.params[name]):
                said += [f"--{name}", address]
        if model := self.params["model"]:
            folder = Path(model).expanduser()
            elsewhere = absolute_if_here(model) if is_foreign(model) else model
            said += ["--model", str(folder.resolve()) if folder.is_dir() else elsewhere]
        sets = [*_flattened(self.params["config"]), *(self.params["overrides"] or [])]
        for each in [*sets, override("cluster.address", "auto")]:
            said += ["--set", each]
        return said


def parse(arguments: list[str]) -> Wanted:
    """Read the command line of `generate`, with its own error messages.

    Raises:
        BadParameter: it is wrong.
    """
    from videogen_pipelines.cli.generate import check_usage, generate

    app = typer.Typer(add_completion=False)
    app.command(name="submit")(generate)
    command = typer.main.get_command(app)
    context = command.make_context("submit", list(arguments))
    params = context.params
    check_usage(params)
    if params["dry_run"]:
        raise typer.BadParameter("--dry-run belongs to 'videogen generate', which checks the same")
    return Wanted(params, {p.name: _name(p) for p in command.params if _was_said(context, p)})


def _was_said(context: Any, parameter: Any) -> bool:
    source = context.get_parameter_source(parameter.name or "")
    return source is not None and source.name == "COMMANDLINE"


def _name(parameter: Any) -> str:
    return next((name for name in parameter.opts if name.startswith("--")), parameter.opts[0])


def _spelled(option: str, value: Any) -> list[str]:
    if value is True:  # a flag
        return [option]
    values = value if isinstance(value, list | tuple) else [value]
    return [part for each in values for part in (option, str(getattr(each, "value", each)))]


def _flattened(config: str | None) -> list[str]:
    """A configuration file as the values of `--set`."""
    from videogen.config import check_schema, load_yaml
    from videogen_pipelines.config import SCHEMA, override

    def leaves(path: str, value: Any) -> list[str]:
        # A key with a dot, such as a metric's name, can only be said inside of its mapping.
        if isinstance(value, dict) and value and not any("." in key for key in value):
            return [leaf for key, each in value.items() for leaf in leaves(f"{path}.{key}", each)]
        return [override(path[1:], value)]

    if config is None:
        return []
    said = check_schema(load_yaml(config), config, SCHEMA)
    return [
        leaf
        for key, value in said.items()
        if value is not None
        for leaf in leaves(f".{key}", value)
    ]


def _submission(
    wanted: Wanted,
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


def _follow(jobs: Jobs, job_id: str, found: dict[str, Any], *, as_json: bool) -> int:
    try:
        job = jobs.follow(job_id, lambda text: typer.echo(text, nl=False, err=as_json))
    except KeyboardInterrupt:
        typer.echo(f"job {job_id} goes on; 'videogen cancel {found['out']}' stops it", err=True)
        return INTERRUPTED
    code = _exit_code(job)
    if as_json:
        said = {**found, "job_status": job.status, "exit_code": code}
        typer.echo(json_module.dumps(said, indent=2))
    elif job.exit_code is None and job.message:
        typer.echo(f"{job.status}: {job.message}", err=True)
    return code


def _exit_code(job: JobView) -> int:
    if job.exit_code is not None:
        return job.exit_code
    return {"SUCCEEDED": OK, "STOPPED": INTERRUPTED}.get(job.status, ENVIRONMENT)
