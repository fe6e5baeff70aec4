"""`videogen logs OUT`: the event log of a run; with `--address`, what its Ray job printed."""

from __future__ import annotations

import json as json_module
import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from videogen.storage import Storage

_LOOK_S = 2.0


def logs(
    out: Annotated[str, typer.Argument(help="The output of a run; with --address also a job id.")],
    address: Annotated[
        str | None, typer.Option(help="The cluster (http://HEAD:8265): print what its job printed.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the run ends.")
    ] = False,
    last: Annotated[int, typer.Option(min=1, help="So many events; the newest.")] = 200,
    json: Annotated[bool, typer.Option("--json", help="Print JSON lines for machines.")] = False,
) -> None:
    """Print what happened in a run: gangs, clips, failures, retries.

    Example: videogen logs s3://bucket/run --follow

    Example: videogen logs s3://bucket/run --address http://head:8265
    """
    if address is not None:
        _print_job(address, out, follow=follow)
        return
    from videogen.storage import open_storage

    _print_events(open_storage(out), last, follow=follow, as_json=json)


def event_line(event: dict[str, Any]) -> str:
    """One event in one line: local time, name, fields."""
    at = datetime.fromtimestamp(event["at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    fields = (f"{key}={value}" for key, value in event.items() if key not in ("at", "event"))
    return " ".join([at, str(event["event"]), *fields])


def _print_events(storage: Storage, last: int, *, follow: bool, as_json: bool) -> None:
    from videogen_pipelines.events import EventTail
    from videogen_pipelines.run_view import look

    view = look(storage)  # says that this is no run directory, where it is none
    tail = EventTail(storage)
    events = tail.skip(last)
    while True:
        for event in events:
            typer.echo(json_module.dumps(event) if as_json else event_line(event))
        if not follow or (view.ended and not events):
            return
        if not view.ended:
            time.sleep(_LOOK_S)
            view = look(storage)
        events = tail.read(view.status.invocation if view.status else None)


def _print_job(address: str, target: str, *, follow: bool) -> None:
    from videogen_cluster.jobs import Jobs
    from videogen_pipelines.submission import find_job

    jobs = Jobs(address)
    job = find_job(jobs, target)
    if follow:
        jobs.follow(job.id, lambda text: typer.echo(text, nl=False))
    else:
        typer.echo(jobs.logs(job.id), nl=False)
